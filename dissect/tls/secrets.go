package tls

import (
	"bytes"
	"encoding/hex"
	"sync"
)

// Labels of key-log lines that are used here (draft-ietf-tls-keylogfile section 2).
const (
	labelMaster          = "CLIENT_RANDOM"
	labelEarly           = "CLIENT_EARLY_TRAFFIC_SECRET"
	labelClientHandshake = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	labelServerHandshake = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
	labelClientTraffic   = "CLIENT_TRAFFIC_SECRET_0"
	labelServerTraffic   = "SERVER_TRAFFIC_SECRET_0"
)

var labels = map[string]bool{labelMaster: true, labelEarly: true, labelClientHandshake: true, labelServerHandshake: true,
	labelClientTraffic: true, labelServerTraffic: true}

const (
	maxSecrets = 1 << 18 // the oldest give way: some tens of MB at most
	maxKeyLine = 512
	minSecret  = 32
	maxSecret  = 64
)

// Secrets are what TLS clients and servers wrote into key logs, by client random. The zero value is empty; a nil one stays
// empty. It may be used from several goroutines: lines can be added while a dissection reads.
type Secrets struct {
	mu    sync.RWMutex
	known map[secretKey][]byte
	order []secretKey // oldest first
}

type secretKey struct {
	label  string
	random [32]byte
}

// Add takes over the lines of a key log and returns how many of them were of use. Others are passed over, as
// comments are; so is what is no key log.
func (s *Secrets) Add(text []byte) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		if s.add(bytes.TrimSuffix(line, []byte("\r"))) {
			n++
		}
	}
	return n
}

// add takes over one line: label, client random and secret, with a space between.
func (s *Secrets) add(line []byte) bool {
	if len(line) > maxKeyLine {
		return false
	}
	fields := bytes.Fields(line)
	if len(fields) != 3 || !labels[string(fields[0])] || len(fields[1]) != 64 {
		return false
	}
	k := secretKey{label: string(fields[0])}
	if _, err := hex.Decode(k.random[:], fields[1]); err != nil {
		return false
	}
	secret := make([]byte, hex.DecodedLen(len(fields[2])))
	if n, err := hex.Decode(secret, fields[2]); err != nil || n < minSecret || n > maxSecret {
		return false
	}
	if s.known == nil {
		s.known = map[secretKey][]byte{}
	}
	if _, again := s.known[k]; !again {
		if len(s.order) >= maxSecrets {
			delete(s.known, s.order[0])
			s.order = s.order[1:]
		}
		s.order = append(s.order, k)
	}
	s.known[k] = secret
	return true
}

// Find is the secret with a label of the handshake that began with a client random; nil when it is not known.
func (s *Secrets) Find(label string, random []byte) []byte {
	if s == nil || len(random) != 32 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.known[secretKey{label, [32]byte(random)}]
}

// Len is how many secrets are known.
func (s *Secrets) Len() int {
	if s == nil {
		return 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.known)
}
