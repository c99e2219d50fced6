// Package lsp is the face for editors: a language server (LSP 3.17) for check files and devloop.yaml, and
// for the lines of source code that register routes.
//
// What an editor is told comes from two places. The files themselves are read by the same code that the loop uses
// (assertions, filter, config), so a squiggle and an exit code never disagree. What was seen on the wire comes from the
// workspace's daemon: verdicts, services, routes and their figures. The server asks a daemon that runs and never starts
// one; without it everything that needs no traffic works.
//
// Requests run beside each other; changes of documents are taken in their order, before any request that came after them.
// Columns are UTF-16 code units, as the protocol counts by default, or UTF-8 bytes where a client prefers these.
package lsp
