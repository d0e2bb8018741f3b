// Package policy holds the rules of the house as tests: which room may import
// which, and the habits that a parser can check.
//
// The floors of docs/architecture.md stand in floors_test.go as data. A new
// package, a new edge between rooms or a new outside module in a room fails
// the test until a line is written there, so each is a decision that a
// reviewer sees. The table is checked both ways: an import that is not listed
// fails, and so does a line that nothing needs any more.
//
// The package holds tests only; this file carries its comment.
package policy
