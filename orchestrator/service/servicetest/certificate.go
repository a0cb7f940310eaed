package servicetest

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
)

// The function `certify` creates a certificate for 127.0.0.1, and writes the certificate and its key to two files. The returned
// client trusts the certificate.
func certify(t testing.TB) (certificate, key string, client *http.Client) {
	t.Helper()
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &pair.PublicKey, pair)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	must(t, err)
	directory := t.TempDir()
	write := func(name, kind string, content []byte) (path string, text []byte) {
		path, text = filepath.Join(directory, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
		must(t, os.WriteFile(path, text, 0o600))
		return path, text
	}
	certificate, text := write("tls.crt", "CERTIFICATE", public)
	key, _ = write("tls.key", "PRIVATE KEY", private)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	client = &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	t.Cleanup(client.CloseIdleConnections)
	return certificate, key, client
}
