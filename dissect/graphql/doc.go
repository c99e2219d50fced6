// Package graphql reads what HTTP calls and WebSocket messages carry for GraphQL: which operation was asked for and which
// errors came back (https://graphql.github.io/graphql-over-http/draft/, the graphql-transport-ws and graphql-ws protocols).
//
// Bodies are looked at in order of cost: the method and the content type, then the first bytes, and only what may be GraphQL is
// parsed. Of a document no more is read than its operations with their root fields. That takes a scanner of one
// page, which also reads documents that were cut, so there is no library for it.
package graphql
