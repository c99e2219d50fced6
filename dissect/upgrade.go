package dissect

// maxPlain bounds where in a stream of no protocol of ours TLS is still expected.
const maxPlain = 64 << 10

// startsTLS says that TLS begins here in a connection that spoke something else so far: STARTTLS in SMTP, IMAP, POP3, XMPP and
// LDAP, AUTH TLS in FTP, the SSL request of MySQL. What was said before is not asked: a segment that begins with a whole
// ClientHello's head is none of theirs.
func (x *direction) startsTLS(b []byte) bool {
	const handshake, clientHello = 22, 1
	return len(b) > 10 && b[0] == handshake && b[1] == 3 && b[2] <= 4 && b[5] == clientHello && b[9] == 3 && b[10] <= 4 &&
		int(b[6])<<16|int(b[7])<<8|int(b[8]) >= 38 && x.Offset-int64(len(b)) < maxPlain
}

// upgrade forgets what a connection spoke before TLS.
func (c *connection) upgrade() {
	c.Stage = stageDetect
	c.Dir[0].Foreign, c.Dir[1].Foreign = 0, 0
}
