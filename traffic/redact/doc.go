// Package redact keeps secrets out of everything that leaves the packets: rows, answers, reports and exports.
//
// A secret becomes `[redacted <kind> <length> <hash>]`. The hash is keyed per workspace and taken over the bare value
// (no scheme, no quotes, no escapes), so that a check can follow one token from a header into another call's body
// without anyone reading it. Packets for export are masked at equal length instead, and their checksums repaired, so
// that they still open anywhere.
//
// What counts as a secret is decided by where it stands (header, query, form, JSON or XML key, cookie) and by what it
// looks like (JWT, provider keys, private keys, card and id numbers with their check digits); in packets also by a
// PostgreSQL client's authentication messages, whose bodies are hidden whole. Names are never secret:
// hosts, DNS names and server names stay.
package redact
