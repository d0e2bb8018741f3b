// Package process runs servers and command line programs as real operating
// system processes for tests: it builds each binary once, starts a server on
// free loopback ports and a fresh directory, waits until the server answers,
// kills it, starts it again on the same directory and ports, and keeps its
// log so that a failing test can show the end of it.
//
// Quoin and the real etcd take the same command line, so one Server type
// drives both; a Program says which binary it is.
package process
