package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Version numbers.
const (
	version1 = 0x00000001
	version2 = 0x6b3343cf // RFC 9369
)

// salt is what the keys of a version's Initial packets are made with; nil for versions that are not known.
func salt(version uint32) []byte {
	switch draft := version & 0xff; {
	case version == version1, version&0x0f0f0f0f == 0x0a0a0a0a: // the latter only exercise version negotiation
		return salts["1"]
	case version == version2:
		return salts["2"]
	case version == 0xfaceb002, version == 0xfaceb00e: // mvfst
		return salts["draft-23"]
	case version == 0x54303530 || version == 0x54303531: // T050, T051: Google's, with TLS
		return salts[Version(version)]
	case version>>8 != 0xff0000:
		return nil
	case draft >= 33 && draft <= 34:
		return salts["1"]
	case draft >= 29 && draft <= 32:
		return salts["draft-29"]
	case draft >= 23 && draft <= 28:
		return salts["draft-23"]
	}
	return nil
}

// salts by the first version that used them.
var salts = map[string][]byte{
	"1":        unhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), // RFC 9001 section 5.2
	"2":        unhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), // RFC 9369 section 3.3.1
	"draft-29": unhex("afbfec289993d24c9e9786f19c6111e04390a899"),
	"draft-23": unhex("c3eef712c72ebb5a11a7d2432bb46365bef9f502"),
	"T050":     unhex("7ff579e5acd072915580304c43a2367c60488310"),
	"T051":     unhex("7a4edef4e7ccee5fa4506c19124fc8ccda6e033d"),
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

// Version names a version of QUIC: "1", "2", "draft-29".
func Version(v uint32) string {
	switch {
	case v == version1:
		return "1"
	case v == version2:
		return "2"
	case v == 0x54303530:
		return "T050"
	case v == 0x54303531:
		return "T051"
	case v>>8 == 0xff0000:
		return "draft-" + strconv.Itoa(int(v&0xff))
	}
	return "0x" + strconv.FormatUint(uint64(v), 16)
}

// keys open the Initial packets of one side (RFC 9001 section 5.1).
type keys struct {
	aead cipher.AEAD
	iv   []byte
	head cipher.Block // header protection
}

// initialKeys derives the keys of one side from the first Destination Connection ID that the client sent.
func initialKeys(version uint32, dcid []byte, from protocol.Side) (*keys, error) {
	secret, err := hkdf.Extract(sha256.New, dcid, salt(version))
	if err != nil {
		return nil, err
	}
	side, prefix := "client in", "quic "
	if from == protocol.Server {
		side = "server in"
	}
	if version == version2 {
		prefix = "quicv2 "
	}
	if secret, err = expand(secret, side, 32); err != nil {
		return nil, err
	}
	key, err1 := expand(secret, prefix+"key", 16)
	iv, err2 := expand(secret, prefix+"iv", 12)
	hp, err3 := expand(secret, prefix+"hp", 16)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	head, err := aes.NewCipher(hp)
	return &keys{aead, iv, head}, err
}

// expand is HKDF-Expand-Label without context (RFC 8446 section 7.1).
func expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := string([]byte{byte(n >> 8), byte(n), byte(len(label))}) + label + "\x00"
	return hkdf.Expand(sha256.New, secret, info, n)
}

// open removes both protections (RFC 9001 sections 5.3 and 5.4). largest is the side's highest packet number so far; ok is false
// when these are not the keys.
func (k *keys) open(p *packet, largest int64) (payload []byte, number int64, ok bool) {
	at := p.number // where the packet number begins
	if len(p.data) < at+4+16 {
		return nil, 0, false
	}
	var mask [16]byte
	k.head.Encrypt(mask[:], p.data[at+4:at+20])
	first := p.data[0] ^ mask[0]&0x0f
	n := int(first&3) + 1
	head := append(make([]byte, 0, at+4), p.data[:at+n]...)
	head[0] = first
	var cut int64
	for i := range n {
		head[at+i] ^= mask[1+i]
		cut = cut<<8 | int64(head[at+i])
	}
	number = fullNumber(cut, n, largest)
	var nonce [12]byte
	copy(nonce[:], k.iv)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(number))
	for i := range b {
		nonce[4+i] ^= b[i]
	}
	payload, err := k.aead.Open(nil, nonce[:], p.data[at+n:], head)
	return payload, number, err == nil
}

// fullNumber restores a packet number of which n bytes were sent (RFC 9000 appendix A.3).
func fullNumber(cut int64, n int, largest int64) int64 {
	window := int64(1) << (8 * n)
	expected := largest + 1
	number := expected&^(window-1) | cut
	switch {
	case number <= expected-window/2 && number < 1<<62-window:
		return number + window
	case number > expected+window/2 && number >= window:
		return number - window
	}
	return number
}
