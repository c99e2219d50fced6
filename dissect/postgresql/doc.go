// Package postgresql reads PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2 (PostgreSQL documentation, chapter
// "Frontend/Backend Protocol"): one call per simple query and per Execute, with its SQL text and fingerprint; also per
// startup, per Parse that no Execute follows in its batch, per function call, cancel request and notification.
//
//	client   Query │ Parse Bind Describe Execute │ Bind Execute │ Sync
//	server   … ReadyForQuery │ 1 2 T D D C       │ 2 D C        │ Z
//
// What the client asked stands in a queue; each answer belongs to the first message of it that can have it. An error
// makes the server skip all up to the next Sync. Names of prepared statements and portals are remembered with their SQL,
// also from window to window. Passwords and the other contents of authentication are never kept.
package postgresql
