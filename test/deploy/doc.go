// Package deploy runs the command lines of the files in deploy/, and of such files written for etcd, as they stand there: in containers
// with the paths and addresses that they name.
package deploy
