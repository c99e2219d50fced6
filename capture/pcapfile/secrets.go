package pcapfile

import "encoding/binary"

// secretsTLS is the type of secrets that are a TLS key log: "TLSK".
const secretsTLS = 0x544c534b

// maxSecretsSize bounds the key log that is kept of one file.
const maxSecretsSize = 64 << 20

// addSecrets reads a Decryption Secrets Block, section 4.7: secrets type 4 | length 4 | data, padded | options.
func (r *Reader) addSecrets(body []byte) {
	if len(body) < 8 || r.u32(body) != secretsTLS {
		return
	}
	data := body[8:]
	data = data[:min(uint64(len(data)), uint64(r.u32(body[4:])))]
	if len(r.secrets)+len(data)+1 > maxSecretsSize {
		return
	}
	r.secrets = append(r.secrets, data...)
	if n := len(r.secrets); n > 0 && r.secrets[n-1] != '\n' {
		r.secrets = append(r.secrets, '\n')
	}
}

// Secrets is the TLS key log of all decryption secrets blocks met so far. It only grows.
func (r *Reader) Secrets() []byte { return r.secrets }

// Secrets is the TLS key log of a whole capture file, nil for one without. The blocks may lie anywhere in it, behind the
// packets too: whoever decrypts needs them first. A file that is damaged has those before the fault.
func Secrets(path string) ([]byte, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.format != "pcapng" {
		return nil, nil
	}
	r.Finish()
	for r.nextSecrets() {
	}
	return r.secrets, nil
}

// nextSecrets reads one block, and keeps it when it holds secrets. It reports whether there may be another.
func (r *Reader) nextSecrets() bool {
	if r.skip > 0 && !r.passOver() || r.end-r.start < 12 && !r.fill(12) {
		return false
	}
	b := r.buf[r.start:r.end]
	kind := r.u32(b)
	if kind == blockSection {
		r.big = binary.BigEndian.Uint32(b[8:]) == magicOrder
	}
	length := r.u32(b[4:])
	whole := (int64(length) + 3) &^ 3
	if length < 12 || whole > maxRecord {
		return false
	}
	if kind != blockSecrets {
		r.skip = whole
		return true
	}
	if !r.fill(int(whole)) {
		return false
	}
	r.addSecrets(r.buf[r.start+8 : r.start+int(whole)-4])
	r.take(int(whole))
	return true
}

// Secrets writes the lines of a TLS key log as a decryption secrets block, or nothing without lines. Readers want it before
// the packets that it opens, and in one piece of at most 64 MiB less some bytes.
func (w *Writer) Secrets(keyLog []byte) {
	if len(keyLog) == 0 {
		return
	}
	at := w.open(blockSecrets)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, secretsTLS)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(keyLog)))
	w.buf = append(w.buf, keyLog...)
	for len(w.buf)&3 != 0 {
		w.buf = append(w.buf, 0)
	}
	w.shut(at)
}
