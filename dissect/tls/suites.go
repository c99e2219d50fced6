package tls

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// mode is how a suite protects records.
type mode uint8

const (
	gcm mode = iota
	chacha
	cbc
)

// suite is what is needed of a cipher suite to read its records.
type suite struct {
	mode mode
	key  int              // bytes
	hash func() hash.Hash // of key derivation
	mac  func() hash.Hash // of CBC suites
}

// suites are those of TLS 1.3 (RFC 8446 appendix B.4) and, for TLS 1.2, the AES suites of RFC 5246, 5288, 5289, 5487 and
// 8422, and ChaCha20 of RFC 7905, whatever the key exchange.
var suites = func() map[uint16]suite {
	m := map[uint16]suite{}
	all := func(s suite, ids ...uint16) {
		for _, id := range ids {
			m[id] = s
		}
	}
	all(suite{mode: gcm, key: 16, hash: sha256.New}, 0x1301, 0x009c, 0x009e, 0x00a2, 0x00a8, 0x00aa, 0x00ac, 0xc02b, 0xc02d, 0xc02f, 0xc031)
	all(suite{mode: gcm, key: 32, hash: sha512.New384}, 0x1302, 0x009d, 0x009f, 0x00a3, 0x00a9, 0x00ab, 0x00ad, 0xc02c, 0xc02e, 0xc030, 0xc032)
	all(suite{mode: chacha, key: 32, hash: sha256.New}, 0x1303, 0xcca8, 0xcca9, 0xccaa, 0xccab, 0xccac, 0xccad, 0xccae)
	all(suite{mode: cbc, key: 16, hash: sha256.New, mac: sha1.New}, 0x002f, 0x0032, 0x0033, 0xc004, 0xc009, 0xc00e, 0xc013)
	all(suite{mode: cbc, key: 32, hash: sha256.New, mac: sha1.New}, 0x0035, 0x0038, 0x0039, 0xc005, 0xc00a, 0xc00f, 0xc014)
	all(suite{mode: cbc, key: 16, hash: sha256.New, mac: sha256.New}, 0x003c, 0x0040, 0x0067, 0xc023, 0xc025, 0xc027, 0xc029)
	all(suite{mode: cbc, key: 32, hash: sha256.New, mac: sha256.New}, 0x003d, 0x006a, 0x006b)
	all(suite{mode: cbc, key: 32, hash: sha512.New384, mac: sha512.New384}, 0xc024, 0xc026, 0xc028, 0xc02a)
	return m
}()
