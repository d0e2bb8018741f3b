// Package tlstest holds tests of what clients and members need to prove to each other, with real certificates and members in this process:
// which certificates open which listener, what happens when they are replaced while members run, and what hostile clients achieve.
//
// The package holds tests only; this file carries its comment.
package tlstest
