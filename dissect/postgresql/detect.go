package postgresql

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// Protocol is this package's row in dissect's table.
var Protocol = protocol.Protocol{Name: traffic.ProtoPostgreSQL, Network: "tcp", Detect: detect, New: func() protocol.Parser { return &Parser{} }}

// Codes of the messages without a type that open a connection.
const (
	codeSSL    = 80877103
	codeGSS    = 80877104
	codeCancel = 80877102

	maxStartup = 10_000  // bytes, as in PostgreSQL
	maxMessage = 1 << 30 // bytes

	maxPlausible = 1 << 25 // of a message that shall show where messages begin
)

// detect says whether bytes begin a connection, or, where a capture joins late, a message in its middle.
func detect(b []byte) protocol.Verdict {
	if len(b) == 0 {
		return protocol.Undecided
	}
	if b[0] == 0 {
		return detectStartup(b)
	}
	client, server := chain(b, protocol.Client), chain(b, protocol.Server)
	switch {
	case client == protocol.FromClient:
		return client
	case server == protocol.FromServer:
		return server
	case client == protocol.Undecided || server == protocol.Undecided:
		return protocol.Undecided
	}
	return protocol.No
}

func detectStartup(b []byte) protocol.Verdict {
	if len(b) < 8 {
		if len(b) > 1 && b[1] != 0 || len(b) > 2 && b[2] > maxStartup>>8 || len(b) > 4 && b[4] != 0 && b[4] != 4 {
			return protocol.No
		}
		return protocol.Undecided
	}
	size, code := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	switch {
	case (code == codeSSL || code == codeGSS) && size == 8:
		return protocol.FromClient
	case code == codeCancel && size >= 16 && size <= 272:
		return protocol.FromClient
	case code>>16 != 3 || code&0xffff > 9999 || size < 9 || size > maxStartup:
		return protocol.No
	}
	if len(b) > 8 && b[8] != 0 && b[8] != '_' && b[8]|0x20 < 'a' || len(b) > 8 && b[8]|0x20 > 'z' {
		return protocol.No
	}
	return protocol.FromClient
}

// fits reports whether a message of that type may be so long, 4 bytes of length included.
func fits(from protocol.Side, kind byte, size int) bool {
	if size < 4 || size > maxMessage {
		return false
	}
	if from == protocol.Client {
		switch kind {
		case 'S', 'H', 'X', 'c':
			return size == 4
		case 'Q', 'f', 'p':
			return size >= 5
		case 'd':
			return true
		case 'C', 'D':
			return size >= 6 && size < 1<<16
		case 'E':
			return size >= 9 && size < 1<<16
		case 'P':
			return size >= 8
		case 'B':
			return size >= 12
		case 'F':
			return size >= 14
		}
		return false
	}
	switch kind {
	case '1', '2', '3', 'n', 's', 'I', 'c':
		return size == 4
	case 'Z':
		return size == 5
	case 'K':
		return size >= 12 && size <= 264
	case 'R':
		return size >= 8 && size < 1<<20
	case 'S', 'C', 'A', 'v':
		return size >= 6 && size < 1<<20
	case 'E', 'N':
		return size >= 5 && size < 1<<24
	case 'T', 't', 'D':
		return size >= 6
	case 'd', 'V':
		return true
	case 'G', 'H', 'W':
		return size >= 7 && size < 1<<16
	}
	return false
}

// chain follows the messages of one side from the first byte on. What is not whole must at least look right; one message
// must be of a kind that nothing else looks like.
func chain(b []byte, side protocol.Side) protocol.Verdict {
	yes := protocol.FromClient
	if side == protocol.Server {
		yes = protocol.FromServer
	}
	strong, count := false, 0
	for n := 0; len(b) > 0 && n < 64; n++ {
		if len(b) < 5 {
			if len(b) > 1 && b[1] > maxMessage>>24 || !types(side, b[0]) {
				return protocol.No
			}
			break
		}
		size := int(binary.BigEndian.Uint32(b[1:]))
		if !fits(side, b[0], size) || size > maxPlausible {
			return protocol.No
		}
		body, whole := b[5:], len(b) >= 1+size
		if whole {
			body = b[5 : 1+size]
		}
		good, sure := looks(side, b[0], body, whole)
		if !good {
			return protocol.No
		}
		strong = strong || sure
		if !whole {
			break
		}
		count++
		b = b[1+size:]
	}
	if strong || count >= 4 {
		return yes
	}
	return protocol.Undecided
}

func types(side protocol.Side, c byte) bool {
	if side == protocol.Client {
		return strings.IndexByte("BCdcfDEHFPpQSX", c) >= 0
	}
	return strings.IndexByte("RKSZTDCENAtn123sIGHWdcVv", c) >= 0
}

// looks checks a message's content; sure says that no other protocol writes that.
func looks(side protocol.Side, kind byte, body []byte, whole bool) (good, sure bool) {
	if side == protocol.Client {
		switch kind {
		case 'Q':
			return query(body, whole)
		case 'P':
			name, rest, ok := text(body)
			if !ok {
				return !whole && printable(body), false
			}
			sql, rest, ok := text(rest)
			if !ok {
				good, sure = query(rest, false)
				return good && !whole, sure
			}
			good, _ = query([]byte(sql), false)
			ok = good && printable([]byte(name)) && (!whole || len(rest) >= 2 && len(rest) == 2+4*int(binary.BigEndian.Uint16(rest)))
			return ok, ok && whole
		case 'B':
			_, ok := parseBind(body)
			return ok || !whole, ok && whole
		case 'C', 'D':
			return len(body) == 0 || (body[0] == 'S' || body[0] == 'P') && (!whole || body[len(body)-1] == 0) && printable(bytes.TrimRight(body[1:], "\x00")), false
		case 'E':
			name, rest, ok := text(body)
			return !ok && !whole || ok && printable([]byte(name)) && (!whole || len(rest) == 4), false
		}
		return true, false
	}
	switch kind {
	case 'Z':
		if len(body) == 0 {
			return true, false
		}
		ok := body[0] == 'I' || body[0] == 'T' || body[0] == 'E'
		return ok, ok
	case 'C':
		tag, rest, ok := text(body)
		_, _, good := parseTag(tag)
		return !whole && !ok || ok && len(rest) == 0 && good, whole && ok && good
	case 'E', 'N':
		e, ok := parseError(body, whole)
		return ok, ok && whole && e.state != "" && e.message != ""
	case 'T':
		return rowDescription(body, whole)
	case 'D':
		return dataRow(body, whole), false
	case 'R':
		return len(body) < 4 || binary.BigEndian.Uint32(body) <= 12, false
	case 'S':
		name, rest, ok := text(body)
		value, end, both := text(rest)
		ok = ok && both && len(end) == 0 && printable([]byte(name)) && len(name) > 2 && printable([]byte(value))
		return ok || !whole && printable(bytes.ReplaceAll(body, []byte{0}, nil)), false
	}
	return true, false
}

// query reports whether text may be SQL, and whether it surely is.
func query(b []byte, whole bool) (good, sure bool) {
	if n := bytes.IndexByte(b, 0); n >= 0 {
		if n != len(b)-1 {
			return false, false
		}
		b = b[:n]
	} else if whole {
		return false, false
	}
	if !printable(b) {
		return false, false
	}
	t := tokenizer{s: string(b[:min(len(b), 2048)])}
	for t.next() {
		if t.text == "(" || t.text == ";" {
			continue
		}
		known := commands[strings.ToUpper(t.text)]
		if !known && t.at == len(t.s) && !whole {
			return true, false // the word may go on
		}
		return known, known
	}
	return true, whole
}

// commands are the words that statements begin with.
var commands = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`ABORT ALTER ANALYZE BEGIN CALL CHECKPOINT CLOSE CLUSTER COMMENT COMMIT COPY CREATE DEALLOCATE DECLARE DELETE
		DISCARD DO DROP END EXECUTE EXPLAIN FETCH GRANT IMPORT INSERT LISTEN LOAD LOCK MERGE MOVE NOTIFY PREPARE REASSIGN REFRESH REINDEX RELEASE
		RESET REVOKE ROLLBACK SAVEPOINT SECURITY SELECT SET SHOW START TABLE TRUNCATE UNLISTEN UPDATE VACUUM VALUES WITH
		IDENTIFY_SYSTEM START_REPLICATION BASE_BACKUP CREATE_REPLICATION_SLOT DROP_REPLICATION_SLOT TIMELINE_HISTORY READ_REPLICATION_SLOT`) {
		m[w] = true
	}
	return m
}()

// printable reports whether bytes are text: no control characters but white space.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f' || c == 0x7f {
			return false
		}
	}
	return true
}
