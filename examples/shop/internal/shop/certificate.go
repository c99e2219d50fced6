package shop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"

	"github.com/devloop-io/devloop/keylog"
)

// TestOnlySeed is where the keys of the shop's test CA come from: every process computes the same ones, so no key file
// is committed or handed around. Everybody has these keys. They protect nothing.
const TestOnlySeed = "devloop shop: test-only certificate authority, everybody has this key"

// testOnlyKey derives a P-256 key from the seed; P-256 because the tls-old fault needs a certificate that TLS 1.1 knows.
func testOnlyKey(purpose string) (*ecdsa.PrivateKey, error) {
	d := sha256.Sum256([]byte(TestOnlySeed + "/" + purpose))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		return nil, fmt.Errorf("derive the test-only key %s: %w", purpose, err)
	}
	return key, nil
}

var testOnlyCA = sync.OnceValues(func() (*x509.Certificate, error) {
	key, err := testOnlyKey("ca")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "devloop shop TEST ONLY CA"},
		NotBefore: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2045, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(nil, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the test-only CA: %w", err)
	}
	return x509.ParseCertificate(der)
})

// ServerTLS is the configuration of a server with these names, under the test CA.
//
// It accepts TLS 1.0 on purpose, as gateways with old customers do: refusing it is the client's business here.
func ServerTLS(names ...string) (*tls.Config, error) {
	ca, err := testOnlyCA()
	if err != nil {
		return nil, err
	}
	caKey, err := testOnlyKey("ca")
	if err != nil {
		return nil, err
	}
	key, err := testOnlyKey("server")
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "devloop shop TEST ONLY server"}, DNSNames: names,
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(nil, template, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, fmt.Errorf("make the test-only server certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS10,
		NextProtos:   []string{"http/1.1"},
	}, nil
}

// ClientTLS trusts the test CA and nothing else.
func ClientTLS() *tls.Config {
	roots := x509.NewCertPool()
	if ca, err := testOnlyCA(); err == nil {
		roots.AddCert(ca)
	}
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, KeyLogWriter: keylog.Writer()}
}
