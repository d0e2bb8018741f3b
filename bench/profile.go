package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profileOf runs a work once more, not measured, while the leader takes a CPU
// profile of itself, and keeps that as profiles/<work>-<side>.pb.gz.
func (p plan) profileOf(ctx context.Context, w work, i int, l load, c *cluster) error {
	dir := filepath.Join(p.out, "profiles")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	seconds := int(math.Ceil(p.length.Seconds()))
	taken := make(chan error, 1)
	go func() {
		taken <- takeProfile(ctx, c.address(), seconds, filepath.Join(dir, w.name+"-"+side(i)+".pb.gz"))
	}()
	_, err := l(ctx, c, p.seed, time.Duration(seconds)*time.Second)
	if failed := <-taken; err == nil {
		err = failed
	}
	return err
}

// takeProfile asks a server for a CPU profile of the next seconds.
func takeProfile(ctx context.Context, address string, seconds int, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, seconds), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, content)
	}
	return os.WriteFile(file, content, 0o644)
}
