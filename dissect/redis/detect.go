package redis

import (
	"bytes"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{
	Name:    traffic.ProtoRedis,
	Network: "tcp",
	Detect:  detect,
	New:     func() protocol.Parser { return &Parser{} },
}

// detect says whether bytes begin Redis, and who sent them. Clients send lists of texts that begin with a command, which
// servers may send as well: a known command with a possible number of arguments is believed to be the client's.
func detect(b []byte) protocol.Verdict {
	if len(b) == 0 {
		return protocol.Undecided
	}
	switch b[0] {
	case '*':
		return detectArray(b)
	case '+', '-':
		return detectStatus(b)
	case ':', '$', '%', '~', '>', '_', '#':
		if b[0] == '$' || b[0] == ':' || b[0] == '#' || b[0] == '_' {
			return whole(b)
		}
		return fromServer(plausible(b))
	case 'A', 'P', 'I', 'M', 'G', 'S', 'H', 'L', 'C', 'D', 'E', 'K', 'p', 'i':
		return detectInline(b)
	}
	return protocol.No
}

func fromServer(a answer) protocol.Verdict {
	switch a {
	case yes:
		return protocol.FromServer
	case maybe:
		return protocol.Undecided
	}
	return protocol.No
}

// whole wants the value, and what follows it, to be sound as far as it is there.
func whole(b []byte) protocol.Verdict {
	a := plausible(b)
	if a == yes && b[0] == '$' {
		n, head, _ := header(b)
		if n >= 0 && int64(len(b)-head) < n+2 && len(b) < 2048 {
			return protocol.Undecided
		}
	}
	return fromServer(a)
}

// detectArray looks at the elements of a list.
func detectArray(b []byte) protocol.Verdict {
	n, at, a := header(b)
	switch {
	case a == maybe:
		return protocol.Undecided
	case a == no || n < 1 || n > 1<<20:
		return protocol.No
	}
	var name []byte
	for i := int64(0); i < min(n, 4); i++ {
		if at == len(b) {
			if i > 0 && len(b) >= 2048 {
				break
			}
			return protocol.Undecided
		}
		if b[at] != '$' { // only servers send other things than texts
			return fromServer(plausible(b))
		}
		size, head, a := header(b[at:])
		switch {
		case a == maybe:
			return protocol.Undecided
		case a == no:
			return protocol.No
		case size < 0:
			return protocol.FromServer
		}
		at += head
		if i == 0 {
			if size == 0 || size > maxName {
				return protocol.No
			}
			if int64(len(b)-at) < size+2 {
				if !isName(b[at:]) {
					return protocol.No
				}
				return protocol.Undecided
			}
			name = b[at : at+int(size)]
			if !isName(name) {
				return protocol.No
			}
			if c, ok := lookup(name); ok && c.takes(int(n)) && !isSubscription(strings.ToUpper(string(name))) {
				return protocol.FromClient
			}
		}
		if int64(len(b)-at) < size+2 && len(b) < 2048 {
			return protocol.Undecided
		}
		if int64(len(b)-at) < size+2 {
			break // a subscription with a very long channel
		}
		at += int(size) + 2
		if b[at-2] != '\r' || b[at-1] != '\n' {
			return protocol.No
		}
	}
	kind := strings.ToLower(string(name))
	switch {
	case (kind == "message" || kind == "smessage") && n == 3, kind == "pmessage" && n == 4:
		return protocol.FromServer
	case isSubscription(strings.ToUpper(kind)), strings.Contains(kind, "."): // commands of modules: JSON.GET
		return protocol.FromClient
	}
	return protocol.No
}

// isName reports whether b looks like a command.
func isName(b []byte) bool {
	for _, c := range b {
		if (c|0x20 < 'a' || c|0x20 > 'z') && c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && c != '\r' && c != '\n' {
			return false
		}
	}
	return true
}

// errorWords begin the errors of Redis; a plain ERR, which POP3 has as well, must go on as Redis does.
var errorWords = []string{"WRONGTYPE ", "NOAUTH ", "NOPERM ", "WRONGPASS ", "MOVED ", "ASK ", "LOADING ", "NOSCRIPT ", "BUSY ", "OOM ", "EXECABORT ",
	"READONLY ", "MISCONF ", "CLUSTERDOWN ", "MASTERDOWN ", "NOREPLICAS ", "BUSYGROUP ", "NOGROUP ", "NOPROTO ", "TRYAGAIN ", "CROSSSLOT ",
	"BUSYKEY ", "UNKILLABLE ", "DENIED ", "ERR unknown command", "ERR wrong number of arguments", "ERR value is not", "ERR syntax error",
	"ERR max number of clients", "ERR invalid", "ERR no such key", "ERR unknown subcommand", "ERR DB index", "ERR Protocol error", "ERR AUTH",
	"ERR index out of range", "ERR Client sent AUTH"}

func detectStatus(b []byte) protocol.Verdict {
	words := errorWords
	if b[0] == '+' {
		words = []string{"OK\r\n", "PONG\r\n", "QUEUED\r\n", "RESET\r\n"}
	}
	verdict := protocol.No
	for _, w := range words {
		switch {
		case len(b) > len(w) && string(b[1:1+len(w)]) == w:
			return protocol.FromServer
		case strings.HasPrefix(w, string(b[1:min(len(b), 1+len(w))])) && len(b) <= len(w):
			verdict = protocol.Undecided
		}
	}
	return verdict
}

// inlineCommands are thought possible without RESP around them; lower-case get and set are memcached's.
var inlineCommands = []string{"PING", "INFO", "MONITOR", "GET", "SET", "DBSIZE", "HGETALL", "HGET", "LRANGE", "CONFIG", "CLIENT", "COMMAND", "SELECT",
	"EXISTS", "DEL", "INCR", "KEYS", "AUTH", "SUBSCRIBE", "PSUBSCRIBE", "ping", "info"}

// detectInline never says yes: many protocols have a line that reads PING. While all lines could be Redis's they are kept,
// and the server's answer decides.
func detectInline(b []byte) protocol.Verdict {
	if len(b) > 1024 {
		return protocol.No
	}
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			return could(b)
		}
		line, crlf := bytes.CutSuffix(b[:end], []byte("\r"))
		name, _, _ := bytes.Cut(line, []byte(" "))
		c, known := lookup(name)
		if !crlf || !known || !c.takes(len(bytes.Fields(line))) || could(line) == protocol.No {
			return protocol.No
		}
		b = b[end+1:]
	}
	return protocol.Undecided
}

// could says whether a line, perhaps cut, may be an inline command.
func could(line []byte) protocol.Verdict {
	line = bytes.TrimSuffix(line, []byte("\r"))
	name, rest, spaced := bytes.Cut(line, []byte(" "))
	for _, w := range inlineCommands {
		switch {
		case !spaced && strings.HasPrefix(w, string(name)):
			return protocol.Undecided
		case string(name) == w && plain(rest) && !bytes.HasPrefix(rest, []byte("/")) && !bytes.HasPrefix(rest, []byte(":")) && !bytes.HasPrefix(rest, []byte("{")):
			return protocol.Undecided
		}
	}
	return protocol.No
}

func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// answer is what a look at the beginning of a value gives.
type answer uint8

const (
	no answer = iota
	maybe
	yes
)

// header reads a type byte and the number behind it: "*3", "$-1". Streamed ones ("$?") give -2. Size is of the whole line.
func header(b []byte) (n int64, size int, a answer) {
	k := bytes.IndexByte(b[:min(len(b), maxHeader)], '\n')
	if k < 0 {
		for _, c := range b[1:min(len(b), maxHeader)] {
			if (c < '0' || c > '9') && c != '-' && c != '?' && c != '\r' {
				return 0, 0, no
			}
		}
		if len(b) >= maxHeader {
			return 0, 0, no
		}
		return 0, 0, maybe
	}
	if k < 3 || b[k-1] != '\r' {
		return 0, 0, no
	}
	n, ok := parseInt(b[1 : k-1])
	if !ok {
		return 0, 0, no
	}
	return n, k + 1, yes
}

// parseInt reads the number of a header, which is -1 for null and "?" (here -2) for what is streamed.
func parseInt(b []byte) (int64, bool) {
	switch string(b) {
	case "-1":
		return -1, true
	case "?":
		return -2, true
	}
	if len(b) == 0 || len(b) > 10 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, n <= maxBulk
}

// plausible says whether b could begin a value that a server sends.
func plausible(b []byte) answer {
	if len(b) == 0 {
		return maybe
	}
	switch b[0] {
	case '$', '=', '!':
		n, head, a := header(b)
		if a != yes || n < 0 {
			return a
		}
		rest := b[head:]
		switch {
		case n < int64(len(rest))-1:
			if rest[n] != '\r' || rest[n+1] != '\n' {
				return no
			}
		case n == int64(len(rest))-1 && rest[n] != '\r':
			return no
		}
		return yes
	case '*', '%', '~', '>', '|':
		n, head, a := header(b)
		if a != yes || n <= 0 {
			return a
		}
		if head == len(b) {
			return maybe
		}
		if !strings.ContainsRune("+-:$*_#,(!=%~>|", rune(b[head])) {
			return no
		}
		return yes
	case '+', '-', ':', ',', '(', '_', '#':
		line := b[:min(len(b), 1024)]
		k := bytes.IndexByte(line, '\n')
		switch {
		case k < 0 && len(line) == 1024:
			return no
		case k >= 0 && (k < 1 || line[k-1] != '\r'):
			return no
		case k >= 0:
			line = line[1 : k-1]
		default:
			line = bytes.TrimRight(line[1:], "\r")
		}
		if !lineOf(b[0], line, k >= 0) {
			return no
		}
		if k < 0 {
			return maybe
		}
		return yes
	}
	return no
}

// lineOf reports whether a line's text suits its type.
func lineOf(kind byte, line []byte, complete bool) bool {
	set := ""
	switch kind {
	case ':':
		set = "+-0123456789"
	case '(':
		set = "+-0123456789"
	case ',':
		set = "+-0123456789.eEinfa"
	case '#':
		return len(line) <= 1 && (len(line) == 0 && !complete || len(line) == 1 && (line[0] == 't' || line[0] == 'f'))
	case '_':
		return len(line) == 0
	default:
		for _, c := range line {
			if c < ' ' && c != '\t' {
				return false
			}
		}
		return true
	}
	for _, c := range line {
		if strings.IndexByte(set, c) < 0 {
			return false
		}
	}
	return len(line) > 0 || !complete
}
