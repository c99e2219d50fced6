// Package facts keeps of each call of a window what its derived fields follow from: times, ends, ids and hashes, of a fixed size
// whatever the call is like. So parents, self times, routes and retries are found without holding the rows.
package facts
