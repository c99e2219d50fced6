// Package routes finds where source code registers the routes of servers, and joins them to what was observed.
//
// The scanners read text and run nothing: comments are blanked, then the registrations of the frameworks are searched for.
// net/http, chi, gin, echo and grpc-go; Express and Fastify; Flask and FastAPI; Spring. A route whose path is computed is
// not found. A prefix that another file adds (a mounted router) is made up for when routes are matched: a route may be the
// end of an observed path.
package routes
