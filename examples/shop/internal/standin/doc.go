// Package standin holds minimal stand-ins for the two servers that the shop needs, for machines without them: a Redis
// that knows a handful of commands, and a PostgreSQL that knows the statements of package database and no others.
//
// They keep everything in memory and are no databases. Each says in its log that it is a stand-in.
package standin
