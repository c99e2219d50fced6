// Package store keeps what a workspace captured: the packet ring's folder, sealed snapshots, and the dissections made
// of them.
//
//	<workspace>/.devloop/
//	  .gitignore          keeps all but baselines/ out of git
//	  key                 of the redaction hashes, made once
//	  ring/               the recorder's segments
//	  baselines/          reviewable text, belongs to git
//	  snapshots/<id>/
//	    0000-000000000012.pcapng …   segments in order, hard links of the ring's: sealing copies nothing
//	    checkpoint.bin          dissector state of the connections that were open at the window's start
//	    identities.json         who had which address
//	    window.json             bounds, iteration, revision, builds
//	    manifest.json           size and SHA-256 of each file, written last
//	    dissection/             calls.parquet connections.parquet loss.json manifest.json
//
// A snapshot is put together beside its place and renamed into it, so that it is there whole or not at all, and it
// never changes afterwards. Files are 0600 and folders 0700: packets are stored raw. What leaves them, rows and
// exports, is redacted here.
package store
