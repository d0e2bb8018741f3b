// Package membership knows who belongs to the cluster: voters, learners, the
// ids of members that were removed, the cluster's version and a downgrade
// under way.
//
// [Cluster] is part of the replicated state: it changes only by committed log
// entries, the same on every member. A change returns the records that are to
// be stored; the caller writes them. The rules that a member checks before it
// proposes a change depend on what it can see at that moment, so they are
// methods that take this view as an argument and change nothing.
//
// The package also computes the ids of members and clusters and reads the
// textual forms in which operators name them. It resolves no host names and
// dials nobody.
package membership
