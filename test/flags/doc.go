// Package flags starts the binary with every option there is, as a flag, as an environment variable and in a configuration file, and looks at
// what the option does: an option that parses and changes nothing is a defect. Values that cannot be are refused with etcd's words and exit
// codes.
//
// The options come from docs/configuration.md, which a test of internal/config keeps equal to the table of options: one that is in no scenario
// fails the test.
package flags
