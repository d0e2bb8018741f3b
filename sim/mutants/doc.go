// Command mutants shows that the simulator finds bugs. Each file beside it holds one deliberate bug of a kind that this field has had, as a
// replacement of text in one of the project's files. The command builds the simulator with one of them after the other, runs it on fresh
// seeds until a judge speaks, and prints which seed that was and which judge. Nothing of it touches the files that are shipped: the compiler
// is told to read a changed copy.
//
// A mutant that nothing finds is a gap in the simulator, and makes the command fail.
//
//	go run ./sim/mutants                    all of them
//	go run ./sim/mutants -for 5m NAME...    these, for longer
//
// A mutant's file begins with lines that say what is wrong with it; then come fields and edits:
//
//	class: the kind of bug for which it stands
//	flags: more arguments of the simulator, if it needs any
//	file: a path from the project's root
//	--- old
//	text that stands in the file exactly once
//	--- new
//	text in its place
//	--- end
package main
