package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of the CPU times in /proc/<pid>/stat: Linux gives them
// to user space in hundredths of a second on every architecture.
const clockTick = 10 * time.Millisecond

// usage is what a process has used up to a moment.
type usage struct {
	cpu          time.Duration // in user and kernel mode, all threads
	writtenBytes int64         // handed to storage
}

// readUsage reads a process's counters.
func readUsage(pid int) (usage, error) {
	cpu, err := cpuTime(pid)
	if err != nil {
		return usage{}, err
	}
	written, err := procField(pid, "io", "write_bytes:")
	return usage{cpu: cpu, writtenBytes: written}, err
}

// cpuTime adds up utime and stime, fields 14 and 15 of /proc/<pid>/stat.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses and may hold anything.
	_, rest, found := bytes.Cut(text, []byte(") "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: unexpected form", pid)
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(userErr, systemErr)
}

// peakMemory returns the largest resident size since resetPeak, in bytes.
func peakMemory(pid int) (int64, error) {
	kb, err := procField(pid, "status", "VmHWM:")
	return kb << 10, err
}

// resetPeak sets the peak to the present size.
func resetPeak(pid int) error {
	return os.WriteFile(procFile(pid, "clear_refs"), []byte("5"), 0)
}

// procField returns the number behind a name in a file of /proc/<pid>.
func procField(pid int, file, name string) (int64, error) {
	text, err := os.ReadFile(procFile(pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name {
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/%s has no %s", pid, file, name)
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// cores says which processors the servers and the generator run on.
type cores struct {
	server, generator unix.CPUSet
	pinned            bool
}

// splitCores gives the first allowed processor to the servers and the second
// to the generator; with one processor, or when not wanted, nothing is pinned.
func splitCores(wanted bool) (cores, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return cores{}, err
	}
	c := cores{server: allowed, generator: allowed}
	if !wanted || allowed.Count() < 2 {
		return c, nil
	}
	c.server.Zero()
	c.generator.Zero()
	found := 0
	for cpu := 0; found < 2; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		if found == 0 {
			c.server.Set(cpu)
		} else {
			c.generator.Set(cpu)
		}
		found++
	}
	c.pinned = true
	return c, nil
}

// pinGenerator moves this process, all its threads, to the generator's core.
// It is called once, before any load.
func (c cores) pinGenerator() error {
	if !c.pinned {
		return nil
	}
	runtime.GOMAXPROCS(1)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &c.generator); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// onServerCore runs start with the calling thread on the servers' core, so that
// a process it starts is born there with all its threads to come.
func (c cores) onServerCore(start func() error) error {
	if !c.pinned {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, &c.server); err != nil {
		return err
	}
	return errors.Join(start(), unix.SchedSetaffinity(0, &c.generator))
}
