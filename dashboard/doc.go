// Package dashboard is the face for people: a page about calls, the services and their verdicts. It serves the page, and computes nothing:
// what the page shows it asks the daemon's API for. The page's sources are in app, what is made of them in dist.
package dashboard
