package clouds

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// The type `mapping` is a mapping in a YAML file. Its keys contain underscores in place of hyphens.
type mapping = map[string]any

// cloudEntry is the entry of a cloud in clouds.yaml, merged with secure.yaml, the vendor's profile and the values of the region.
type cloudEntry struct {
	name   string
	file   string  // the path of clouds.yaml; or of secure.yaml if there is no clouds.yaml
	values mapping // the field auth, if any, is a mapping
	vendor string  // the name of the vendor's profile, if no file contains this profile; otherwise empty
}

// readCloud reads the entry of a cloud in the same way as the openstack command. The parameter `region` is the value of OS_REGION_NAME. If
// region is empty, readCloud uses the entry's first region. If the entry lists only other regions, the result depends on the parameter
// `strict`: if strict is true, readCloud returns an error; if strict is false, readCloud uses the first region.
func readCloud(name, region string, strict bool) (cloudEntry, error) {
	e := cloudEntry{name: name}
	file, content, err := readFiles()
	if err != nil {
		return e, err
	}
	if e.file = file; file == "" {
		return e, fmt.Errorf("reading cloud %q: found no clouds.yaml in %s", name, strings.Join(directories(), ", "))
	}
	clouds, err := inner(content, "clouds")
	if err != nil {
		return e, e.fault(err)
	}
	given, ok := clouds[name]
	if !ok {
		return e, e.fault(fmt.Errorf("clouds has no such entry; the entries are %q", slices.Sorted(maps.Keys(clouds))))
	}
	own, ok := given.(mapping)
	if !ok {
		return e, e.fault(errors.New("the entry is empty, or not a mapping"))
	}
	if e.values, err = e.profile(own); err != nil {
		return e, e.fault(err)
	}
	if e.values, err = withRegion(e.values, region, strict); err != nil {
		return e, e.fault(err)
	}
	_, err = inner(e.values, "auth")
	return e, e.fault(err)
}

// readFiles reads clouds.yaml, merged with secure.yaml. The result `file` is the path of clouds.yaml; or of secure.yaml if there is no clouds.yaml.
// If there is neither, it is empty.
func readFiles() (file string, content mapping, err error) {
	file, content, err = firstFile("clouds", "OS_CLIENT_CONFIG_FILE")
	if err != nil {
		return "", nil, err
	}
	secureFile, secure, err := firstFile("secure", "OS_CLIENT_SECURE_FILE")
	if err != nil {
		return "", nil, err
	}
	return cmp.Or(file, secureFile), merged(content, secure), nil
}

// Names returns the names of the entries in clouds.yaml, sorted, and the path of the file. FromCloud says where the file is searched. If there is no
// clouds.yaml, the path is empty.
func Names() (names []string, file string, err error) {
	file, content, err := readFiles()
	if err != nil || file == "" {
		return nil, file, err
	}
	clouds, err := inner(content, "clouds")
	if err != nil {
		return nil, file, fmt.Errorf("reading %s: %w", file, err)
	}
	return slices.Sorted(maps.Keys(clouds)), file, nil
}

// The method `fault` adds the file and the cloud to an error.
func (e cloudEntry) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading cloud %q in %s: %w", e.name, e.file, err)
}

// The method `profile` merges the entry into the vendor's profile that the entry names. If no file contains this profile, `profile` stores
// the name of the profile in e.vendor, and returns the unchanged entry. Even without the profile, the entry can contain all required
// values.
func (e *cloudEntry) profile(own mapping) (mapping, error) {
	name := text(own["profile"])
	if name == "" {
		name = text(own["cloud"])
	}
	if name == "" {
		return own, nil
	}
	_, content, err := firstFile("clouds-public", "")
	if err != nil {
		return nil, err
	}
	vendors, err := inner(content, "public_clouds")
	if err != nil {
		return nil, fmt.Errorf("clouds-public.yaml: %w", err)
	}
	vendor, ok := vendors[name].(mapping)
	if !ok {
		e.vendor = name
	}
	return merged(vendor, own), nil
}

// withRegion merges the values of a region into the entry.
func withRegion(values mapping, region string, strict bool) (mapping, error) {
	var names []string
	regions, listed := values["regions"].([]any)
	if !listed && text(values["region_name"]) != "" {
		for name := range strings.SplitSeq(text(values["region_name"]), ",") {
			regions = append(regions, name)
		}
	}
	for i, r := range regions {
		of := mapping{}
		name := text(r)
		if m, ok := r.(mapping); ok {
			name = text(m["name"])
			var err error
			if of, err = inner(m, "values"); err != nil {
				return nil, fmt.Errorf("regions[%d].%w", i, err)
			}
		}
		if name == "" {
			return nil, fmt.Errorf("regions[%d].name is missing", i)
		}
		if name == region || i == 0 && region == "" {
			return merged(merged(values, of), mapping{"region_name": name}), nil
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return values, nil
	}
	if !strict {
		return withRegion(values, "", true)
	}
	return nil, fmt.Errorf("regions has no region %q (OS_REGION_NAME); the regions are %q", region, names)
}

// The function `directories` lists the directories that can contain clouds.yaml and secure.yaml, in the order of the search.
func directories() []string {
	all := []string{"."}
	if dir, err := os.UserConfigDir(); err == nil {
		all = append(all, filepath.Join(dir, "openstack"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		all = append(all, filepath.Join(home, ".config", "openstack"))
	}
	return slices.Compact(append(all, "/etc/xdg/openstack", "/etc/openstack"))
}

// maxFile is the maximum size of a configuration file, in bytes.
const maxFile = 1 << 20

// firstFile reads the first file that exists and may be read. The parameter `name` is the file's name without the extension. The
// parameter `override` names an environment variable. If this variable contains a path, firstFile tries this path first. If there is
// no file, firstFile returns an empty path.
func firstFile(name, override string) (path string, content mapping, err error) {
	var paths []string
	if override != "" && os.Getenv(override) != "" {
		paths = append(paths, os.Getenv(override))
	}
	for _, dir := range directories() {
		for _, suffix := range []string{".yaml", ".yml", ".json"} {
			paths = append(paths, filepath.Join(dir, name+suffix))
		}
	}
	for _, path := range paths {
		content, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		return path, content, err
	}
	return "", nil, nil
}

// readFile reads the mapping in a YAML file. The result is nil if the file is empty.
func readFile(path string) (mapping, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the operator's own setting
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	var decoded any
	if err := yaml.Unmarshal(data, &decoded); err != nil {
		return nil, fmt.Errorf("%s is not valid YAML%s", path, lineOf(err))
	}
	content, ok := normalized(decoded).(mapping)
	if !ok && decoded != nil {
		return nil, fmt.Errorf("%s is not a mapping", path)
	}
	return content, nil
}

// lineOf returns the line of a YAML error. The text of the error is omitted, because it can quote passwords from the file.
func lineOf(err error) string {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil && e.GetToken().Position != nil {
		return fmt.Sprintf(" (line %d)", e.GetToken().Position.Line)
	}
	return ""
}

// The function `normalized` replaces hyphens in the names of keys by underscores.
func normalized(value any) any {
	switch v := value.(type) {
	case mapping:
		m := make(mapping, len(v))
		for key, inner := range v {
			m[strings.ReplaceAll(key, "-", "_")] = normalized(inner)
		}
		return m
	case []any:
		for i := range v {
			v[i] = normalized(v[i])
		}
	}
	return value
}

// The function `merged` returns a mapping with the keys of both mappings. If a key has a mapping in a and in b, `merged` merges these two
// mappings too. For other values, the value in b wins.
func merged(a, b mapping) mapping {
	all := maps.Clone(a)
	if all == nil {
		all = mapping{}
	}
	for key, value := range b {
		was, ok := all[key].(mapping)
		is, both := value.(mapping)
		if ok && both {
			value = merged(was, is)
		}
		if value != nil || !ok { // an empty field in secure.yaml does not hide a mapping in clouds.yaml
			all[key] = value
		}
	}
	return all
}

// The function `inner` returns the mapping in a field. A missing or empty field counts as an empty mapping. If the field contains a value
// that is not a mapping, `inner` returns an error.
func inner(m mapping, key string) (mapping, error) {
	switch v := m[key].(type) {
	case nil:
		return mapping{}, nil
	case mapping:
		return v, nil
	}
	return nil, fmt.Errorf("%s is not a mapping", key)
}

// The function `text` converts a string, a number or a boolean to a string. For any other value, the result is empty.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v)
	}
	return ""
}
