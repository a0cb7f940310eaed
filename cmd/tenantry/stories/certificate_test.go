package stories_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
)

// The type `certified` has the paths of a certificate and of its key.
type certified struct{ certificate, key string }

// The function `certify` writes a self-signed certificate for a host into a directory. The function `change` may change it.
func certify(t testing.TB, dir, host string, change func(*x509.Certificate)) certified {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ok(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour), IsCA: true,
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	if change != nil {
		change(template)
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ok(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ok(err)
	name := filepath.Join(dir, uuid.NewString())
	ok(os.WriteFile(name+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o600))
	ok(os.WriteFile(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return certified{name + ".crt", name + ".key"}
}

// The method `trusted` returns a client that trusts the certificate.
func (c certified) trusted(t testing.TB) http.Client {
	t.Helper()
	text, err := os.ReadFile(c.certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return http.Client{Transport: transport}
}
