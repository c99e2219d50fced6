// Package bundle reads and writes evidence bundles: one file with what a verdict rests on, to be looked at on a machine that
// has nothing else of it: not even the files that its checks read.
//
// A bundle is a ZIP file. Its members have fixed names, the first of them lists the others with their sizes and SHA-256.
// Reading trusts nothing: names that are not known, members that are not listed or are listed twice, sizes beyond the bounds and
// digests that differ are refused, and nothing is ever written to a path that the file names. The digests tell damage from
// wholeness; they do not tell who made the file.
package bundle
