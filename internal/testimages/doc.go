// Package testimages makes images of real servers out of this machine's packages, for clusters on machines that can pull
// no image: PostgreSQL and Redis, under the names that devloop.yaml gives to the official ones, so that pods find them
// present. They are for tests. A user's cluster pulls the official images and needs nothing of this.
//
// The servers are the real ones, of the version that the machine has; the labels of an image say which. Of the official
// images' behaviour there is what the shop relies on, see each function.
package testimages
