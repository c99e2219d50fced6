package standin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"strconv"
	"strings"
	"sync"
)

// Redis answers GET, SET, DEL, KEYS and what clients say when they connect. Times to live are accepted and not kept.
type Redis struct {
	mu     sync.Mutex
	values map[string]string

	// Answered, when set before the first client comes, is told of every command and its reply, from several goroutines.
	Answered func(words []string, reply string)
}

// NewRedis makes an empty one.
func NewRedis() *Redis { return &Redis{values: map[string]string{}} }

// Handle answers the commands of one connection.
func (s *Redis) Handle(c net.Conn) {
	r, w := bufio.NewReader(c), bufio.NewWriter(c)
	for {
		args, err := readCommand(r)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintf(w, "-ERR %v\r\n", err)
				w.Flush()
			}
			return
		}
		reply := s.answer(args)
		if s.Answered != nil {
			s.Answered(args, reply)
		}
		w.WriteString(reply)
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}

func (s *Redis) answer(args []string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name := strings.ToUpper(args[0]); {
	case name == "PING":
		return "+PONG\r\n"
	case name == "HELLO" && (len(args) == 1 || args[1] == "2"):
		return "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
	case name == "SELECT" && len(args) == 2:
		return "+OK\r\n"
	case name == "SET" && len(args) >= 3:
		s.values[args[1]] = args[2]
		return "+OK\r\n"
	case name == "GET" && len(args) == 2:
		v, ok := s.values[args[1]]
		if !ok {
			return "$-1\r\n"
		}
		return "$" + strconv.Itoa(len(v)) + "\r\n" + v + "\r\n"
	case name == "KEYS" && len(args) == 2:
		var keys strings.Builder
		n := 0
		for key := range s.values {
			if ok, err := path.Match(args[1], key); ok && err == nil {
				fmt.Fprintf(&keys, "$%d\r\n%s\r\n", len(key), key)
				n++
			}
		}
		return "*" + strconv.Itoa(n) + "\r\n" + keys.String()
	case name == "DEL" && len(args) >= 2:
		n := len(s.values)
		for _, key := range args[1:] {
			delete(s.values, key)
		}
		return ":" + strconv.Itoa(n-len(s.values)) + "\r\n"
	}
	return "-ERR unknown command for the devloop stand-in\r\n"
}

const maxRedis = 1 << 20 // bytes of a bulk string, and arguments of a command

// readCommand reads an array of bulk strings, the one form in which clients send commands (RESP2).
func readCommand(r *bufio.Reader) ([]string, error) {
	n, err := readLength(r, '*')
	if err != nil {
		return nil, err
	}
	if n < 1 || n > 1024 {
		return nil, fmt.Errorf("a command of %d words", n)
	}
	args := make([]string, n)
	for i := range args {
		size, err := readLength(r, '$')
		if err != nil {
			return nil, err
		}
		if size < 0 || size > maxRedis {
			return nil, fmt.Errorf("a word of %d bytes", size)
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		args[i] = string(word[:size])
	}
	return args, nil
}

func readLength(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" || text[0] != kind {
		return 0, fmt.Errorf("expected %q, got %q", kind, text)
	}
	return strconv.Atoi(text[1:])
}
