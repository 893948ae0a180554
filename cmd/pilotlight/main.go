// Command pilotlight keeps GPU models at zero until somebody asks: it holds the
// request, launches an allocation, releases the request to it, and drains it
// when demand is gone. One binary has all roles and tools; see --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/pilotlight/pilotlight/internal/localfleet"
	"github.com/pilotlight/pilotlight/internal/redisdb"
)

// version is set by the linker.
var version = "dev"

// Exit codes.
const (
	exitDone    = 0
	exitFailure = 1
	exitUsage   = 2
)

// commands of the binary.
type commands struct {
	Dev       devCommand       `cmd:"" help:"All roles in one process; replicas are child processes. Needs nothing installed."`
	Serve     serveCommand     `cmd:"" help:"Run roles in production: activator, scaler, web."`
	Policy    policyCommand    `cmd:"" help:"Check and read policies."`
	Job       jobCommand       `cmd:"" help:"Check job specs together with their policies, for CI."`
	Translate translateCommand `cmd:"" help:"Translate a text: a client of POST /translate."`
	Service   serviceCommand   `cmd:"" help:"See and operate services."`
	Requests  requestsCommand  `cmd:"" help:"See the requests that wait, and end them."`
	Replay    replayCommand    `cmd:"" help:"Replay a trace under a policy: what it costs, how long requests wait."`
	Stub      stubCommand      `cmd:"" help:"A scripted model server, for tests and demos."`
	Bench     benchCommand     `cmd:"" help:"Measure this build against yardsticks in the same run."`
	Doctor    doctorCommand    `cmd:"" help:"Check Nomad, Redis, permissions and clocks, and say what to do."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

// streams of the process, so that commands can be tested.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is wrong use: exit code 2.
type usageError struct{ error }

func main() {
	localfleet.MaybeSupervise()
	os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run carries out one command line and returns its exit code.
func run(args []string, std streams) int {
	ctx, stop := untilTold()
	defer stop()

	code := -1
	parser, err := kong.New(&commands{},
		kong.Name("pilotlight"),
		kong.Description("Keeps GPU models at zero until somebody asks."),
		kong.DefaultEnvars("PILOTLIGHT"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(std.out, std.err),
		kong.Exit(func(c int) { code = c }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
		kong.Vars{"redis_forms": redisdb.Forms},
		kong.UsageOnError(),
	)
	if err != nil {
		_, _ = fmt.Fprintln(std.err, "pilotlight:", err)
		return exitFailure
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if code >= 0 { // --help
		return code
	}
	if err != nil {
		_, _ = fmt.Fprintf(std.err, "pilotlight: %v\nSee pilotlight --help, or --help after any command.\n", err)
		return exitUsage
	}
	err = k.Run()
	var wrong usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &wrong):
		_, _ = fmt.Fprintf(std.err, "pilotlight %s: %v\n", k.Command(), err)
		return exitUsage
	case errors.Is(err, errReported):
		return exitFailure
	default:
		_, _ = fmt.Fprintf(std.err, "pilotlight: %v\n", err)
		return exitFailure
	}
}

// untilTold returns a context that ends at the first SIGINT or SIGTERM. A second
// one, however soon, ends the process at once, as if it were not caught.
func untilTold() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			cancel()
		case <-done:
			return
		}
		select {
		case s := <-signals:
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			_ = syscall.Kill(os.Getpid(), s.(syscall.Signal))
		case <-done:
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
}

// errReported: the command has said itself what failed.
var errReported = errors.New("reported")

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(std streams) error {
	_, err := fmt.Fprintln(std.out, "pilotlight "+version)
	return err
}
