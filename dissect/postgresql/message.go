package postgresql

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
)

// Limits of what is kept of one message.
const (
	maxSQL       = 64 << 10
	maxArguments = 64
	maxArgument  = 256
	maxMessageOf = 8 << 10 // of an error's text
)

// text reads a string that ends with a zero byte.
func text(b []byte) (s string, rest []byte, ok bool) {
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		return "", b, false
	}
	return string(b[:n]), b[n+1:], true
}

// bind is what a Bind message says.
type bind struct {
	portal, statement string
	parameters        int
	arguments         []string
}

// parseBind reads a Bind message; ok is false when it is cut or wrong, and then has what came before.
func parseBind(b []byte) (x bind, ok bool) {
	if x.portal, b, ok = text(b); !ok {
		return x, false
	}
	if x.statement, b, ok = text(b); !ok || len(b) < 2 {
		return x, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < 2*n+2 {
		return x, false
	}
	formats := b[:2*n]
	for i := range n {
		if formats[2*i] != 0 || formats[2*i+1] > 1 {
			return x, false
		}
	}
	b = b[2*n:]
	x.parameters = int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > 1 && n != x.parameters {
		return x, false
	}
	for i := range x.parameters {
		if len(b) < 4 {
			return x, false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		if b = b[4:]; size < -1 || size > len(b) {
			return x, false
		}
		binaryFormat := n == 1 && formats[1] == 1 || n > 1 && formats[2*i+1] == 1
		if i < maxArguments {
			x.arguments = append(x.arguments, argument(b, size, binaryFormat))
		}
		b = b[max(0, size):]
	}
	if len(b) < 2 {
		return x, false
	}
	n = int(binary.BigEndian.Uint16(b))
	return x, len(b) == 2+2*n
}

// argument is a bound value as people read it.
func argument(b []byte, size int, binaryFormat bool) string {
	switch {
	case size < 0:
		return "NULL"
	case binaryFormat:
		return "<" + strconv.Itoa(size) + " bytes>"
	case size > maxArgument:
		return cut(string(b[:size]), maxArgument) + "…"
	}
	return string(b[:size])
}

// parseTag reads what CommandComplete says: "INSERT 0 5", "SELECT 3", "CREATE TABLE".
func parseTag(tag string) (name string, rows int64, ok bool) {
	words := strings.Fields(tag)
	if len(words) == 0 || len(tag) > 64 {
		return "", 0, false
	}
	for _, w := range words {
		for i := range len(w) {
			if c := w[i]; (c < 'A' || c > 'Z') && !isDigit(c) && c != '_' {
				return "", 0, false
			}
		}
	}
	if isDigit(words[0][0]) || !commands[words[0]] {
		return "", 0, false
	}
	rows, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	if err != nil {
		rows = 0
	}
	return words[0], rows, true
}

// failure is what an ErrorResponse or NoticeResponse says.
type failure struct {
	severity, state, message string
}

// parseError reads the fields of an error (section "Error and Notice Message Fields").
func parseError(b []byte, whole bool) (e failure, ok bool) {
	for n := 0; n < 64; n++ {
		if len(b) == 0 {
			return e, !whole
		}
		field := b[0]
		if field == 0 {
			return e, len(b) == 1 && n > 0
		}
		if field|0x20 < 'a' || field|0x20 > 'z' {
			return e, false
		}
		value, rest, end := text(b[1:])
		if !end {
			if value = string(b[1:]); whole {
				return e, false
			}
			rest = nil
		}
		switch field {
		case 'V':
			e.severity = cut(value, 16)
		case 'S':
			if e.severity == "" {
				e.severity = cut(value, 16)
			}
		case 'C':
			if e.state = value; len(value) != 5 {
				return e, !end && !whole
			}
		case 'M':
			e.message = cut(value, maxMessageOf)
		}
		b = rest
	}
	return e, false
}

// rowDescription checks a RowDescription: names with 18 bytes behind each.
func rowDescription(b []byte, whole bool) (good, sure bool) {
	if len(b) < 2 {
		return !whole, false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range n {
		name, rest, ok := text(b)
		if !ok {
			return !whole && len(b) < 256 && printable(b), false
		}
		if !printable([]byte(name)) {
			return false, false
		}
		if len(rest) < 18 {
			return !whole, false
		}
		if rest[16] != 0 || rest[17] > 1 {
			return false, false
		}
		b = rest[18:]
	}
	return !whole || len(b) == 0, whole && n > 0 && len(b) == 0
}

// dataRow checks a DataRow: values with their lengths.
func dataRow(b []byte, whole bool) bool {
	if len(b) < 2 {
		return !whole
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	for range n {
		if len(b) < 4 {
			return !whole
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < -1 || size > maxMessage {
			return false
		}
		if size > len(b) {
			return !whole
		}
		b = b[max(0, size):]
	}
	return !whole || len(b) == 0
}

// startup reads the parameters of a StartupMessage.
func startup(b []byte) (user, database string) {
	for len(b) > 0 && b[0] != 0 {
		name, rest, ok := text(b)
		if !ok {
			break
		}
		value, rest, ok := text(rest)
		if !ok {
			break
		}
		switch name {
		case "user":
			user = cut(value, 128)
		case "database":
			database = cut(value, 128)
		}
		b = rest
	}
	if database == "" {
		database = user
	}
	return user, database
}
