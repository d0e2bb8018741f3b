package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
)

const (
	// startTimeout bounds the time from exec to the first answer.
	startTimeout = 60 * time.Second
	// probeInterval is the pause between two tries to reach a starting server.
	probeInterval = 5 * time.Millisecond
)

// A server is one running member with its data in a directory of its own.
type server struct {
	command []string
	name    string
	initial string // the cluster it founds
	cores   cores
	dir     string
	address string // host:port of the client listener
	peer    string // host:port of the peer listener
	process *exec.Cmd
	log     *os.File
}

// flags are the same for both sides.
func (s *server) flags() []string {
	return []string{
		"--name=" + s.name,
		"--data-dir=" + filepath.Join(s.dir, "data"),
		"--listen-client-urls=http://" + s.address,
		"--advertise-client-urls=http://" + s.address,
		"--listen-peer-urls=http://" + s.peer,
		"--initial-advertise-peer-urls=http://" + s.peer,
		"--initial-cluster=" + s.initial,
		"--quota-backend-bytes=8589934592",
		"--log-level=error",
	}
}

// start executes the program, on the data that is there, and returns when it
// has answered a linearizable read.
func (s *server) start(ctx context.Context) error {
	if err := s.launch(); err != nil {
		return err
	}
	return s.await(ctx)
}

// launch executes the program.
func (s *server) launch() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	args := append(append([]string{}, s.command[1:]...), s.flags()...)
	s.log = log
	s.process = exec.Command(s.command[0], args...)
	s.process.Stdout, s.process.Stderr = log, log
	// Works that are about the free space of the file have it rewritten themselves.
	s.process.Env = append(os.Environ(), "ETCD_AUTO_DEFRAG_PERCENT=0")
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cores.onServerCore(s.process.Start); err != nil {
		s.process = nil
		return errors.Join(err, log.Close())
	}
	return nil
}

// await returns when the member has answered, and kills it if it does not.
func (s *server) await(ctx context.Context) error {
	if err := s.awaitAnswer(ctx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w; its log: %s", s.command[0], err, tail(s.log.Name())), s.kill())
	}
	return nil
}

func (s *server) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	probe := time.NewTicker(probeInterval)
	defer probe.Stop()
	for {
		err := call(ctx, s.address, pathRange, &etcdserverpb.RangeRequest{Key: []byte("probe")}, &etcdserverpb.RangeResponse{})
		if err == nil {
			return nil
		}
		if s.gone() {
			return errors.New("ended instead of serving")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer: %w", err)
		case <-probe.C:
		}
	}
}

// gone says whether the process has ended and waits to be reaped.
func (s *server) gone() bool {
	text, err := os.ReadFile(procFile(s.pid(), "stat"))
	return err != nil || strings.Contains(string(text), ") Z ")
}

func (s *server) pid() int { return s.process.Process.Pid }

// kill ends the process at once, as a crash would; if it does not run, nothing
// happens.
func (s *server) kill() error {
	if s.process == nil {
		return nil
	}
	err := s.process.Process.Kill()
	_ = s.process.Wait() // says that it was killed
	s.process = nil
	return errors.Join(err, s.log.Close())
}

// freeAddresses returns loopback addresses that nobody listened on just now.
func freeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}

// tail returns the end of a log for an error message.
func tail(file string) string {
	const most = 2000
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}
