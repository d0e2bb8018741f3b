// Package workload makes work for servers and judges what they answer: a
// seeded generator of random requests, a client that sends them over raw
// stubs, rules that make the answers of two servers comparable, and followers
// that record what a watcher sees.
package workload
