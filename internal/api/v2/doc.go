// Package v2 is the old HTTP and JSON API of keys (/v2/keys and what stands beside it) as a view over the one key space: the file /a/b is the
// key <prefix>a/b. What is written here is replicated, stored and watched like everything else, and what other clients write below the prefix
// is seen here. The index of an answer is the revision.
//
// How the tree lies over flat keys:
//
//   - A file is the key of its path. A directory is a marker, the key of its path and a slash, which sorts before everything inside; a write
//     makes the markers of missing parents in its own transaction, so that directories stay when they are empty. Keys without markers, which
//     other clients write, imply their directories. Where there are both a file and keys below it, the file hides them.
//   - A marker's value says how it came to be: see marker. Paths are clean, so a marker is never the key of a file.
//   - Every time to live is a lease of its own, whose id holds when it ends: see leaseID. So a listing shows times without asking for leases.
//     What is made in a directory that expires, and has no time of its own, is attached to the directory's lease and goes with it in one
//     revision. When that lease is replaced, what is attached to it moves in the same transaction.
//   - A write reads the elements of its path and the subtree's first key in one transaction, decides, and commits under compares that all it
//     has read is still so; else it begins again.
//   - A deletion that nobody asked for here is told as an expiry if the node had a lease. To know, a deletion of what has a lease writes the
//     note <prefix>/deleted, no path's key, in its transaction; a watch looks whether the note has the revision of the deletion.
//
// With authentication on, a call is made as the user that it names by HTTP Basic or by certificate, with that user's permissions on the keys.
// One whose permissions do not reach the parents is served without looking at them: see levels.
//
// docs/v2.md says where the view differs from the old store, and why.
package v2
