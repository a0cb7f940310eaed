package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
)

// The type `images` is a registry in which every image exists and has an empty configuration.
type images struct{}

// ResolveImageConfig implements [llb.ImageMetaResolver].
func (images) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := []byte(`{"architecture": "amd64", "os": "linux"}`)
	return ref, digest.FromBytes(config), config, nil
}

// The function `lint` returns an error that lists what BuildKit's linter finds in a Dockerfile.
func lint(ctx context.Context, path string, _ []string) (any, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	source := &llb.SourceMap{Filename: path, Language: "Dockerfile", Data: text, Definition: &llb.Definition{}}
	found, err := dockerfile2llb.DockerfileLint(ctx, text, dockerfile2llb.ConvertOpt{SourceMap: source, MetaResolver: images{}})
	if err != nil {
		return nil, err
	}
	var faults []error
	if found.Error != nil {
		faults = append(faults, errors.New(found.Error.Message))
	}
	for _, w := range found.Warnings {
		faults = append(faults, fmt.Errorf("%s: %s: %s", path, w.RuleName, w.Detail))
	}
	return len(faults), errors.Join(faults...)
}

// The type `stage` is one stage of a Dockerfile.
type stage struct {
	Name, From string
	Commands   []command
}

// The type `command` is one instruction of a stage. BuildKit defines the fields for each kind of instruction.
type command struct {
	Name   string
	Fields any
}

// The function `stages` parses a Dockerfile.
func stages(_ context.Context, path string, _ []string) (any, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	all, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	var found []stage
	for _, s := range all {
		one := stage{Name: s.Name, From: s.BaseName}
		for _, c := range s.Commands {
			one.Commands = append(one.Commands, command{c.Name(), c})
		}
		found = append(found, one)
	}
	return found, nil
}

// buildContext returns the regular files in a folder, without the files that its .dockerignore excludes.
func buildContext(_ context.Context, folder string, _ []string) (any, error) {
	text, err := read(filepath.Join(folder, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	var found []string
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error { //nolint:gosec // the caller of this command names the folder
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		out, err := ignored.MatchesOrParentMatches(name)
		if err == nil && !out {
			found = append(found, name)
		}
		return err
	})
	return found, err
}

func read(path string) ([]byte, error) {
	return os.ReadFile(path) //nolint:gosec // the caller of this command names the file
}
