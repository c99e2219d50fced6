package tls

import (
	"crypto/tls"

	"github.com/devloop-io/devloop/dissect/protocol"
)

// Messages that say more once they can be read (RFC 8446 section 4).
const (
	msgHelloRequest        = 0
	msgEndOfEarlyData      = 5
	msgEncryptedExtensions = 8
	msgFinished            = 20
	msgKeyUpdate           = 24
)

// epoch is which of the connection's keys one side uses.
type epoch uint8

const (
	epochNone      epoch = iota
	epochEarly           // 0-RTT
	epochHandshake       // TLS 1.3
	epochTraffic         // application data; the only one of TLS 1.2
)

// Bounds of what is tried to decrypt where the capture lacks records or the secrets came late.
const (
	maxTries  = 256  // numbers that one record is tried with
	maxVain   = 16   // records in a row that no number opens, before the side is given up
	maxEffort = 4096 // vain tries of one side over its life
)

// Decryption is what one side's records are read with. Exported for checkpoints, which so hold secrets.
type Decryption struct {
	Epoch   epoch
	Seq     uint64 // number of the next record under the present key
	Secret  []byte // of TLS 1.3
	Keys    keys12 // of TLS 1.2
	Message []byte // beginning of a handshake message that goes on in the next record
	Dark    bool   // given up: what follows is encrypted for good
	Hunt    bool   // records must be found again
	Ahead   int    // records that may be missing before the next
	Cut     int64  // rest of the record that a gap begins in
	Torn    bool   // what Skip passes over is the rest of such a record
	Loose   bool   // the secrets came late: Seq is where numbers begin, and Ahead how far they may be
	ChaCha  bool   // early data is sealed with ChaCha20
	Gone    int64  // where the first record lies that is missing, from 1; 0 when none is
	GoneSeq uint64 // its number
	Vain    int    // records in a row that could not be opened
	Effort  int    // vain tries

	open *opener // made when it is needed
}

// clear forgets keys: what follows is in the clear again.
func (s *half) clear() {
	s.Closed = false
	s.Decryption = Decryption{Dark: s.Dark, Effort: s.Effort}
}

// pass counts an encrypted record that is not read, so that the number of the next is known once secrets are.
func (s *half) pass(kind byte) {
	switch {
	case kind == recordChangeCipher:
	case s.Loose || s.Ahead > 0:
		s.Ahead = min(s.Ahead+1, maxTries)
	default:
		s.Seq++
	}
}

// use changes keys.
func (s *half) use(e epoch, secret []byte) {
	s.Epoch, s.Secret, s.Seq, s.open, s.Message, s.GoneSeq = e, secret, 0, nil, nil, 0
}

// decrypt reads the encrypted record of size bytes at v.Data[at:]. It returns its length when it could; wait says that more
// has to come first. Otherwise the record stays closed.
func (p *Parser) decrypt(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at, size int) (n int, wait bool) {
	o, ok := h.(protocol.Opener)
	if !ok || s.Dark {
		return 0, false
	}
	if !p.Hello && from == protocol.Client && p.Call != nil && !p.Early && p.known(o) && !p.Sides[protocol.Server].Lost {
		return 0, true // the server's choice was captured a little later
	}
	if from == protocol.Client && p.Early && (p.waitsForAnswer(o, s) || p.Retry && len(v.Data)-at < 5+size) {
		return 0, true
	}
	if from == protocol.Client && p.Early && p.Retry && !p.Hello { // another ClientHello follows in the clear
		return 5 + size, false
	}
	if !p.ready(o, from, s) {
		return 0, false
	}
	if len(v.Data)-at < 5+size {
		return 0, true
	}
	record := v.Data[at : at+5+size]
	kind, plain, inside, ok := p.try(o, from, s, record)
	if !ok {
		return 0, false
	}
	if s.Epoch != epochEarly { // which came before the server's flight
		p.beyond(h, from, v.At(at))
	}
	s.Closed = true
	p.lost(o, from, s, v.At(at))
	p.content(h, o, from, s, kind, plain, view(v, at+inside, len(plain), plain))
	return 5 + size, false
}

// known reports whether the handshake's secrets are.
func (p *Parser) known(o protocol.Opener) bool {
	return o.Secret(labelClientHandshake, p.Random) != nil || o.Secret(labelMaster, p.Random) != nil
}

// soothing reports whether a change of ciphers only soothes middleboxes (RFC 8446 appendix D.4).
func (p *Parser) soothing() bool { return p.About != nil && p.About.Version == tls.VersionTLS13 }

// view says where plaintext lay. The marks are those of the packets that carried it.
func view(v *protocol.View, at, n int, plain []byte) *protocol.View {
	first := v.At(at)
	w := &protocol.View{Data: plain, Base: first.Offset, Marks: []protocol.Mark{first}}
	for _, m := range v.Marks {
		if m.Offset > first.Offset && m.Offset < first.Offset+int64(n) {
			w.Marks = append(w.Marks, m)
		}
	}
	return w
}

// ready finds the key of a side's next record.
func (p *Parser) ready(o protocol.Opener, from protocol.Side, s *half) bool {
	switch {
	case s.open != nil:
		return true
	case p.Random == nil:
		return false
	case !p.Hello:
		return from == protocol.Client && p.Early && p.readyEarly(o, s)
	case p.About == nil:
		return false
	}
	suite, ok := suites[p.About.Cipher]
	switch {
	case !ok:
		return false
	case p.About.Version == tls.VersionTLS12:
		if s.Keys.Key == nil {
			master := o.Secret(labelMaster, p.Random)
			if master == nil || !s.Closed {
				return false
			}
			s.Keys = expand12(suite, master, p.Random, p.ServerRandom)[from]
		}
		s.Epoch = epochTraffic
		s.open = open12(suite, &s.Keys, p.ETM)
	case p.About.Version == tls.VersionTLS13:
		s.open = p.open13(o, from, s, suite)
	}
	return s.open != nil
}

// readyEarly is ready for early data that comes before the server's choice: the length of the secret tells the hash, and
// the record itself which of the ciphers with it.
func (p *Parser) readyEarly(o protocol.Opener, s *half) bool {
	if s.Secret == nil {
		if s.Secret = o.Secret(labelEarly, p.Random); s.Secret == nil {
			return false
		}
		s.Epoch = epochEarly
	}
	id := tls.TLS_AES_128_GCM_SHA256
	switch {
	case s.ChaCha:
		id = tls.TLS_CHACHA20_POLY1305_SHA256
	case len(s.Secret) == 48:
		id = tls.TLS_AES_256_GCM_SHA384
	}
	s.open = open13(suites[id], s.Secret)
	return s.open != nil
}

func (p *Parser) open13(o protocol.Opener, from protocol.Side, s *half, suite suite) *opener {
	if s.Secret == nil {
		handshake, traffic := labelClientHandshake, labelClientTraffic
		if from == protocol.Server {
			handshake, traffic = labelServerHandshake, labelServerTraffic
		}
		switch s.Epoch {
		case epochNone:
			s.Epoch = epochHandshake
			if from == protocol.Client && p.Early {
				if s.Secret = o.Secret(labelEarly, p.Random); s.Secret != nil {
					s.Epoch = epochEarly
					break
				}
			}
			fallthrough
		case epochHandshake:
			s.Secret = o.Secret(handshake, p.Random)
			if s.Secret == nil { // nothing of the handshake is known, and so not where it ends
				if s.Secret = o.Secret(traffic, p.Random); s.Secret != nil {
					s.Epoch = epochTraffic
					s.loosen()
				}
			} else if s.Seq > 0 {
				s.loosen()
			}
		case epochTraffic:
			s.Secret = o.Secret(traffic, p.Random)
		}
	}
	if s.Secret == nil {
		return nil
	}
	return open13(suite, s.Secret)
}

// loosen is for secrets that came after records: which of those belong to the present key is not known.
func (s *half) loosen() {
	s.Loose, s.Ahead, s.Seq = true, int(min(s.Seq, maxTries)), 0
}

// try opens a record with the number that is due or, where records may be missing, with one of the next, and with the keys
// that may follow.
func (p *Parser) try(o protocol.Opener, from protocol.Side, s *half, record []byte) (kind byte, plain []byte, inside int, ok bool) {
	for range 4 { // keys
		for ahead := range min(s.Ahead, maxTries) + 1 {
			if kind, plain, inside, ok = s.open.open(s.Seq+uint64(ahead), record); ok {
				s.Seq += uint64(ahead) + 1
				s.Ahead, s.Loose, s.Vain = 0, false, 0
				return kind, plain, inside, true
			}
			s.Effort++
		}
		if !p.nextKeys(o, from, s) {
			break
		}
	}
	if s.Vain++; s.Vain > maxVain || s.Effort > maxEffort {
		s.Dark = true
	}
	return 0, nil, 0, false
}

// nextKeys turns to the keys that a record may be sealed with when it is not with the present ones: early data was
// refused or ended, or the end of the handshake is missing.
func (p *Parser) nextKeys(o protocol.Opener, from protocol.Side, s *half) bool {
	e, ahead := s.Epoch, s.Ahead
	switch {
	case e == epochEarly && !p.Hello && len(s.Secret) == 32 && !s.ChaCha:
		s.ChaCha, s.open = true, nil
		return p.ready(o, from, s)
	case e == epochEarly && p.Hello:
		s.use(epochHandshake, nil)
	case e == epochHandshake && (ahead > 0 || s.Loose):
		s.use(epochTraffic, nil)
	default:
		return false
	}
	s.Ahead = ahead
	if p.ready(o, from, s) {
		return true
	}
	s.Epoch = e
	return false
}

// content is what a record had in it.
func (p *Parser) content(h protocol.Host, o protocol.Opener, from protocol.Side, s *half, kind byte, plain []byte, v *protocol.View) {
	switch kind {
	case recordData:
		if len(plain) > 0 && !(s.Epoch == epochEarly && p.refused()) {
			o.Plain(from, v, p.About)
		}
	case recordHandshake:
		s.Message = append(s.Message, plain...)
		if len(s.Message) > maxHandshake {
			h.Undecoded(int64(len(s.Message)), "tls_handshake_limit")
			s.Message = nil
		}
		p.messages(h, from, s)
	}
}

// messages follows the handshake inside of its encryption, as far as keys change with it.
func (p *Parser) messages(h protocol.Host, from protocol.Side, s *half) {
	for len(s.Message) >= 4 {
		n := int(s.Message[1])<<16 | int(s.Message[2])<<8 | int(s.Message[3])
		if len(s.Message) < 4+n {
			return
		}
		kind, body := s.Message[0], s.Message[4:4+n]
		s.Message = s.Message[4+n:]
		old := p.About != nil && p.About.Version == tls.VersionTLS12
		switch {
		case old && (kind == msgClientHello || kind == msgHelloRequest): // renegotiation is not followed
			p.Sides[0].Dark, p.Sides[1].Dark = true, true
			return
		case old:
		case kind == msgEncryptedExtensions && from == protocol.Server && p.Early:
			p.answerEarly(h, body)
		case kind == msgEndOfEarlyData && from == protocol.Client && s.Epoch == epochEarly:
			s.use(epochHandshake, nil)
			return
		case kind == msgFinished && s.Epoch == epochHandshake:
			s.use(epochTraffic, nil)
			return
		case kind == msgKeyUpdate && s.Epoch == epochTraffic: // RFC 8446 section 7.2
			suite := suites[p.About.Cipher]
			s.use(epochTraffic, expandLabel(suite, s.Secret, "traffic upd", len(s.Secret)))
			return
		}
	}
	if len(s.Message) == 0 {
		s.Message = nil
	}
}

// Salvage implements [protocol.Salvager]: the header of a record that a gap cuts says where the next begins.
func (p *Parser) Salvage(h protocol.Host, from protocol.Side, v *protocol.View) int {
	s := &p.Sides[from]
	if n := p.salvageHello(h, from, s, v); n > 0 {
		return n
	}
	o, ok := h.(protocol.Opener)
	if !ok || s.Dark || s.Hunt || !s.Closed || len(v.Data) < 5 || !p.ready(o, from, s) {
		return 0
	}
	if s.Gone == 0 {
		s.Gone, s.GoneSeq = v.Base+1, s.Seq
	}
	size := int64(v.Data[3])<<8 | int64(v.Data[4])
	if rest := 5 + size - int64(len(v.Data)); rest > 0 {
		s.Cut = rest
		h.Undecoded(int64(len(v.Data)), "tls_record_cut")
		return len(v.Data)
	}
	return 0
}

// survive finds out how reading goes on behind a gap, and reports whether it can.
func (p *Parser) survive(h protocol.Host, from protocol.Side, s *half, n int64, at protocol.Mark) bool {
	o, ok := h.(protocol.Opener)
	cut := s.Cut
	s.Cut, s.Message, s.Torn = 0, nil, false
	if !ok || s.Dark || n <= 0 || !p.ready(o, from, s) {
		return false
	}
	if s.Gone == 0 {
		s.Gone, s.GoneSeq = at.Offset+1, s.Seq
	}
	if cut > 0 {
		s.Seq++
	}
	if cut >= n { // the gap lies within one record
		s.Skip, s.Torn = cut-n, true
		return true
	}
	s.Hunt = true
	s.Ahead = int(min(int64(s.Ahead)+1+(n-cut)/(5+16), maxTries))
	return true
}

// lost tells how much plaintext is missing, once the record behind it is found: all bytes up to there, less what each of
// the missing records has besides. With AEAD and without padding that is exact.
func (p *Parser) lost(o protocol.Opener, from protocol.Side, s *half, at protocol.Mark) {
	if s.Gone == 0 {
		return
	}
	n := at.Offset + 1 - s.Gone
	if s.open != nil && s.Seq > s.GoneSeq {
		n -= int64(s.Seq-s.GoneSeq-1) * int64(5+s.open.overhead())
	}
	s.Gone = 0
	o.PlainLost(from, max(n, 1), at)
}

// forsake tells of what is missing when nothing comes after it.
func (p *Parser) forsake(h protocol.Host, from protocol.Side, at protocol.Mark) {
	if o, ok := h.(protocol.Opener); ok && p.Sides[from].Gone > 0 {
		p.Sides[from].Gone = 0
		o.PlainLost(from, 1, at)
	}
}

// hunt looks for a record from v.Data[at:] on and returns how many bytes it passed over.
func (p *Parser) hunt(h protocol.Host, from protocol.Side, s *half, v *protocol.View, at int) (n int, found bool) {
	o, ok := h.(protocol.Opener)
	b := v.Data[at:]
	give := func(n int) {
		if n > 0 {
			h.Undecoded(int64(n), "tls_resync")
		}
	}
	for i := 0; i+5 <= len(b); i++ {
		size := int(b[i+3])<<8 | int(b[i+4])
		if b[i] < recordAlert || b[i] > recordData || b[i+1] != 3 || b[i+2] != 3 || size < 16 || size > maxRecord {
			continue
		}
		if len(b)-i < 5+size {
			give(i)
			return i, false
		}
		if !ok || !p.ready(o, from, s) || s.Dark {
			break
		}
		kind, plain, inside, opened := p.try(o, from, s, b[i:i+5+size])
		if opened {
			give(i)
			s.Hunt, s.Closed = false, true
			p.beyond(h, from, v.At(at+i))
			p.lost(o, from, s, v.At(at+i))
			p.content(h, o, from, s, kind, plain, view(v, at+i+inside, len(plain), plain))
			return i + 5 + size, true
		}
	}
	if s.Dark || !ok || s.open == nil {
		s.Hunt, s.Lost = false, true
		return 0, false
	}
	n = max(0, len(b)-4)
	give(n)
	return n, false
}
