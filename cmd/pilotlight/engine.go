package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The Apertium engine, as Debian packages it.
var apertiumPackages = []string{"apertium-apy", "apertium-eng-spa"}

const apertiumData = "/usr/share/apertium"

// ensureApertium makes sure that the engine is there, installing it where that
// is possible: on Debian, as root. Progress goes to w.
func ensureApertium(ctx context.Context, w io.Writer) error {
	if apertiumThere() {
		return nil
	}
	want := strings.Join(apertiumPackages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the Apertium engine is missing and this is no Debian system: install %s, or start with --engine stub", want)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the Apertium engine is missing: run \"sudo apt-get install %s\", or start with --engine stub", want)
	}
	_, _ = fmt.Fprintf(w, "The Apertium engine is missing; installing %s from Debian (about 60 MB, usually under a minute).\n", want)
	start := time.Now()
	for _, step := range []struct {
		doing string
		args  []string
	}{
		{"reading the package lists", []string{"update", "-q"}},
		{"installing", append([]string{"install", "-q", "-y", "--no-install-recommends"}, apertiumPackages...)},
	} {
		if err := aptGet(ctx, w, start, step.doing, step.args); err != nil {
			return fmt.Errorf("%s: %w; install %s yourself, or start with --engine stub", step.doing, err, want)
		}
	}
	if !apertiumThere() {
		return fmt.Errorf("the packages %s are installed, but apertium-apy or its Spanish data are not where they should be; start with --engine stub", want)
	}
	_, _ = fmt.Fprintf(w, "  the engine is installed (%s)\n", time.Since(start).Round(time.Second))
	return nil
}

func apertiumThere() bool {
	_, err := exec.LookPath("apertium-apy")
	modes, _ := filepath.Glob(filepath.Join(apertiumData, "modes", "eng-spa*.mode"))
	return err == nil && len(modes) > 0
}

// aptGet runs one step and shows its last line as it goes.
func aptGet(ctx context.Context, w io.Writer, start time.Time, doing string, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait(); _ = in.Close() }()
	var last []string
	lines := bufio.NewScanner(out)
	shown := time.Time{}
	for lines.Scan() {
		last = append(last, lines.Text())
		if len(last) > 5 {
			last = last[1:]
		}
		if time.Since(shown) > 500*time.Millisecond {
			shown = time.Now()
			text := lines.Text()
			if len(text) > 90 {
				text = text[:90] + "…"
			}
			_, _ = fmt.Fprintf(w, "  %3.0fs %s: %s\n", time.Since(start).Seconds(), doing, text)
		}
	}
	_, _ = io.Copy(io.Discard, out) // a line longer than the scanner takes
	if err := <-done; err != nil {
		if ctx.Err() != nil {
			return errors.New("it took longer than 10 minutes")
		}
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, strings.Join(last, "\n"))
	}
	return nil
}
