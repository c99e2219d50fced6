package tls

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// opener decrypts the records of one side under one key. It is made from exported state and is no part of a checkpoint.
type opener struct {
	aead     cipher.AEAD
	iv       []byte
	explicit int  // bytes of nonce at the head of each record
	inner    bool // TLS 1.3: the content's kind is inside

	block  cipher.Block // CBC
	mac    hash.Hash
	etm    bool // encrypt-then-MAC, RFC 7366
	macLen int
}

// newAEAD makes the cipher of a suite that is not CBC.
func newAEAD(s suite, key []byte) (cipher.AEAD, error) {
	if s.mode == chacha {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// open13 makes the opener of a TLS 1.3 traffic secret (RFC 8446 section 7.3).
func open13(s suite, secret []byte) *opener {
	if s.mode == cbc || len(secret) != s.hash().Size() {
		return nil
	}
	aead, err := newAEAD(s, expandLabel(s, secret, "key", s.key))
	if err != nil {
		return nil
	}
	return &opener{aead: aead, iv: expandLabel(s, secret, "iv", 12), inner: true}
}

// expandLabel is HKDF-Expand-Label without context (RFC 8446 section 7.1).
func expandLabel(s suite, secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len(label)))
	info = append(append(info, label...), 0)
	out, err := hkdf.Expand(s.hash, secret, string(info), n)
	if err != nil { // the secret's length was looked at
		return make([]byte, n)
	}
	return out
}

// keys12 are one side's part of the key block of TLS 1.2. Exported for checkpoints.
type keys12 struct{ MAC, Key, IV []byte }

// expand12 derives the keys of both sides, client first (RFC 5246 section 6.3).
func expand12(s suite, master, client, server []byte) (keys [2]keys12) {
	mac, iv := 0, 4 // of GCM
	switch s.mode {
	case chacha:
		iv = 12
	case cbc:
		mac, iv = s.mac().Size(), 0 // IVs are explicit
	}
	seed := append(append([]byte("key expansion"), server...), client...)
	b := prf(s.hash, master, seed, 2*(mac+s.key+iv))
	take := func(n int) []byte {
		head := b[:n:n]
		b = b[n:]
		return head
	}
	keys[0].MAC, keys[1].MAC = take(mac), take(mac)
	keys[0].Key, keys[1].Key = take(s.key), take(s.key)
	keys[0].IV, keys[1].IV = take(iv), take(iv)
	return keys
}

// prf is P_hash (RFC 5246 section 5); the seed includes the label.
func prf(h func() hash.Hash, secret, seed []byte, n int) []byte {
	m := hmac.New(h, secret)
	sum := func(parts ...[]byte) []byte {
		m.Reset()
		for _, p := range parts {
			m.Write(p)
		}
		return m.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// open12 makes the opener of one side's keys of TLS 1.2.
func open12(s suite, k *keys12, etm bool) *opener {
	if s.mode == cbc {
		block, err := aes.NewCipher(k.Key)
		if err != nil {
			return nil
		}
		m := hmac.New(s.mac, k.MAC)
		return &opener{block: block, mac: m, macLen: m.Size(), etm: etm}
	}
	aead, err := newAEAD(s, k.Key)
	if err != nil {
		return nil
	}
	o := &opener{aead: aead, iv: k.IV}
	if s.mode == gcm {
		o.explicit = 8
	}
	return o
}

// open decrypts a whole record, header included, as the seq-th of its key. at is where in the record the plaintext's first
// byte lies: bytes keep their distance. It fails on a record that was not sealed with this key and number.
func (o *opener) open(seq uint64, record []byte) (kind byte, plain []byte, at int, ok bool) {
	if o.block != nil {
		return o.openCBC(seq, record)
	}
	body := record[5:]
	if len(body) < o.explicit+o.aead.Overhead() {
		return 0, nil, 0, false
	}
	var nonce [12]byte
	copy(nonce[:], o.iv)
	if o.explicit > 0 { // RFC 5288 section 3
		copy(nonce[4:], body[:8])
		body = body[8:]
	} else { // RFC 8446 section 5.3, RFC 7905 section 2
		for i := range 8 {
			nonce[4+i] ^= byte(seq >> (56 - 8*i))
		}
	}
	additional := record[:5] // RFC 8446 section 5.2
	if !o.inner {
		additional = additional12(seq, record, len(body)-o.aead.Overhead())
	}
	plain, err := o.aead.Open(make([]byte, 0, len(body)), nonce[:], body, additional)
	if err != nil {
		return 0, nil, 0, false
	}
	kind = record[0]
	if o.inner {
		n := len(plain)
		for n > 0 && plain[n-1] == 0 {
			n--
		}
		if n == 0 {
			return 0, nil, 0, false
		}
		kind, plain = plain[n-1], plain[:n-1]
	}
	return kind, plain, 5 + o.explicit, true
}

// overhead is what a record has besides its header and plaintext; of CBC the least.
func (o *opener) overhead() int {
	switch {
	case o.block != nil:
		return aes.BlockSize + o.macLen + 1
	case o.inner:
		return o.aead.Overhead() + 1
	}
	return o.explicit + o.aead.Overhead()
}

// additional12 is what TLS 1.2 authenticates besides the content (RFC 5246 section 6.2.3.3).
func additional12(seq uint64, record []byte, n int) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 13), seq)
	b = append(b, record[:3]...)
	return binary.BigEndian.AppendUint16(b, uint16(n))
}

// openCBC is GenericBlockCipher with an explicit IV (RFC 5246 section 6.2.3.2).
func (o *opener) openCBC(seq uint64, record []byte) (kind byte, plain []byte, at int, ok bool) {
	body, tag := record[5:], []byte(nil)
	if o.etm {
		if len(body) < o.macLen {
			return 0, nil, 0, false
		}
		body, tag = body[:len(body)-o.macLen], body[len(body)-o.macLen:]
		if !o.sealed(additional12(seq, record, len(body)), body, tag) {
			return 0, nil, 0, false
		}
	}
	if len(body) < 2*aes.BlockSize || len(body)%aes.BlockSize != 0 {
		return 0, nil, 0, false
	}
	plain = make([]byte, len(body)-aes.BlockSize)
	cipher.NewCBCDecrypter(o.block, body[:aes.BlockSize]).CryptBlocks(plain, body[aes.BlockSize:])
	pad := int(plain[len(plain)-1]) + 1
	if pad > len(plain) {
		return 0, nil, 0, false
	}
	plain = plain[:len(plain)-pad]
	if !o.etm {
		if len(plain) < o.macLen {
			return 0, nil, 0, false
		}
		plain, tag = plain[:len(plain)-o.macLen], plain[len(plain)-o.macLen:]
		if !o.sealed(additional12(seq, record, len(plain)), plain, tag) {
			return 0, nil, 0, false
		}
	}
	return record[0], plain, 5 + aes.BlockSize, true
}

// sealed reports whether tag is the MAC of a head and a body.
func (o *opener) sealed(head, body, tag []byte) bool {
	o.mac.Reset()
	o.mac.Write(head)
	o.mac.Write(body)
	return hmac.Equal(o.mac.Sum(nil), tag)
}
