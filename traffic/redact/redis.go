package redact

import (
	"bytes"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// redisCall redacts a Redis call: what authenticates is secret by its place, values by the name of their field or key, and
// everything by its looks.
func (r *Redactor) redisCall(c *traffic.Call) {
	d := c.Redis
	if d == nil {
		return
	}
	d.Key = r.field(c, d.Key, 0, "request.path")
	secret := r.redisSecrets(d)
	for i := range d.Args {
		place := "request.argument"
		if kind := secret[i]; kind != "" {
			d.Args[i] = r.whole(c, d.Args[i], kind, place)
			continue
		}
		d.Args[i] = r.field(c, d.Args[i], 0, place)
	}
	if kind := r.redisReplySecret(d); kind != "" && d.Reply != "" && d.Error == "" && d.Reply != "OK" && d.Reply != "QUEUED" {
		d.Reply = r.whole(c, d.Reply, kind, "response.reply")
	}
	d.Reply = r.field(c, d.Reply, 0, "response.reply")
	d.Error = r.field(c, d.Error, 0, "response.error")
}

// whole replaces a value by its marker, unless it is one.
func (r *Redactor) whole(c *traffic.Call, s, kind, place string) string {
	if s == "" || marker(view(s)) == len(s) {
		return s
	}
	return r.apply(c, s, view(s), []span{{from: 0, to: len(s), kind: kind}}, place)
}

// redisSecrets says which arguments are secret, and of what kind.
func (r *Redactor) redisSecrets(d *traffic.Redis) map[int]string {
	arg := func(i int) string {
		if i < len(d.Args) {
			return strings.ToUpper(d.Args[i])
		}
		return ""
	}
	secret := map[int]string{}
	all := func(from int, kind string) {
		for i := from; i < len(d.Args); i++ {
			secret[i] = kind
		}
	}
	switch d.Command {
	case "AUTH":
		all(max(0, len(d.Args)-1), "password")
		if len(d.Args) > 2 {
			all(0, "password")
		}
	case "HELLO":
		for i := range d.Args {
			if arg(i) == "AUTH" {
				secret[i+2] = "password"
			}
		}
	case "ACL":
		if arg(0) == "SETUSER" { // the rules behind the name may be passwords and their hashes
			for i := 2; i < len(d.Args); i++ {
				if strings.ContainsAny(d.Args[i][:min(1, len(d.Args[i]))], "><#!") {
					secret[i] = "password"
				}
			}
		}
	case "CONFIG":
		if arg(0) == "SET" {
			for i := 1; i+1 < len(d.Args); i += 2 {
				if name := arg(i); strings.HasSuffix(name, "PASS") || strings.HasSuffix(name, "AUTH") || strings.HasSuffix(name, "PASSWORD") {
					secret[i+1] = "password"
				}
			}
		}
	case "SENTINEL":
		for i := 1; i+1 < len(d.Args); i++ {
			if name := arg(i); strings.HasSuffix(name, "PASS") {
				secret[i+1] = "password"
			}
		}
	case "MIGRATE":
		for i := range d.Args {
			switch arg(i) {
			case "AUTH":
				secret[i+1] = "password"
			case "AUTH2":
				secret[i+2] = "password"
			}
		}
	case "HSET", "HMSET", "HSETNX", "XADD":
		for i := 1; i+1 < len(d.Args); i++ {
			if kind := r.keyKind(view(d.Args[i])); kind != "" {
				secret[i+1] = kind
			}
		}
	case "SET", "SETEX", "PSETEX", "SETNX", "GETSET", "APPEND":
		if kind := r.redisKeyKind(d.Key); kind != "" {
			at := 1
			if d.Command == "SETEX" || d.Command == "PSETEX" {
				at = 2
			}
			secret[at] = kind
		}
	case "MSET", "MSETNX":
		for i := 0; i+1 < len(d.Args); i += 2 {
			if kind := r.redisKeyKind(d.Args[i]); kind != "" {
				secret[i+1] = kind
			}
		}
	}
	return secret
}

// redisKeyKind looks at the last part of a key: user:7:password.
func (r *Redactor) redisKeyKind(key string) string {
	return r.keyKind(view(key[strings.LastIndexByte(key, ':')+1:]))
}

// redisReplySecret says what kind of secret a whole reply is.
func (r *Redactor) redisReplySecret(d *traffic.Redis) string {
	sub := ""
	if len(d.Args) > 0 {
		sub = strings.ToUpper(d.Args[0])
	}
	switch d.Command {
	case "ACL":
		if sub == "GENPASS" || sub == "GETUSER" || sub == "LIST" {
			return "password"
		}
	case "CONFIG":
		if sub == "GET" && len(d.Args) > 1 && (strings.Contains(strings.ToLower(d.Args[1]), "pass") || strings.Contains(strings.ToLower(d.Args[1]), "auth")) {
			return "password"
		}
	case "GET", "GETDEL", "GETEX", "GETSET":
		return r.redisKeyKind(d.Key)
	case "HGET":
		if len(d.Args) == 2 {
			return r.keyKind(view(d.Args[1]))
		}
	}
	return ""
}

// redisHello bounds the password of `*n CRLF $5 CRLF HELLO CRLF … $4 CRLF AUTH CRLF $n CRLF user CRLF $n CRLF password CRLF`, as
// [redisAuth] does that of AUTH.
func redisHello(b []byte, i int) (from, to, next int) {
	if len(b)-i < 24 || b[i+1] < '2' || b[i+1] > '9' || lower(string(b[i+2:i+15])) != "\r\n$5\r\nhello\r\n" {
		return 0, 0, 0
	}
	at, auth := i+15, -1
	for k := range int(b[i+1] - '1') {
		line := bytes.Index(b[at:min(len(b), at+12)], []byte("\r\n"))
		if line < 2 || b[at] != '$' {
			return 0, 0, 0
		}
		size := 0
		for _, c := range b[at+1 : at+line] {
			if !isDigit(c) || size > 1<<16 {
				return 0, 0, 0
			}
			size = size*10 + int(c-'0')
		}
		from = at + line + 2
		to = min(from+size, len(b))
		at = min(to+2, len(b))
		switch {
		case auth < 0 && lower(string(b[from:to])) == "auth":
			auth = k
		case auth >= 0 && k == auth+2 && from < to && marker(b[from:]) == 0:
			return from, to, to
		}
	}
	return 0, 0, 0
}
