package nomaddouble

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
)

// process of a task: a real one, or a pretended one without cmd.
type process struct {
	cmd   *exec.Cmd
	ended chan Exit // takes one
	quit  chan syscall.Signal
}

// start runs the task. The error is what its driver would say.
func (s *Server) start(a *allocation, t *task) (*process, error) {
	p := &process{ended: make(chan Exit, 1), quit: make(chan syscall.Signal, 2)}
	s.mu.Lock()
	stubborn := s.startups[jobKey{a.job.Namespace, a.job.ID}].IgnoresKill
	s.mu.Unlock()
	if t.Driver != "raw_exec" && t.Driver != "exec" {
		go func() {
			for sig := range p.quit {
				if sig == syscall.SIGKILL {
					p.ended <- Exit{Code: 137, Signal: 9}
					return
				}
				if !stubborn {
					p.ended <- Exit{}
					return
				}
			}
		}()
		return p, nil
	}
	dir := filepath.Join(s.cfg.Dir, a.ID, t.Name)
	if err := os.MkdirAll(filepath.Join(dir, "local"), 0o700); err != nil {
		return nil, err
	}
	env := s.environment(a, t, dir)
	args := make([]string, len(t.Args))
	for i, arg := range t.Args {
		args[i] = jobs.Interpolate(arg, env)
	}
	stdout, err := os.Create(filepath.Join(dir, "stdout"))
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	command := jobs.Interpolate(t.Command, env)
	p.cmd = exec.Command(command, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, stdout, stderr
	p.cmd.SysProcAttr = attributes()
	p.cmd.Env = append(p.cmd.Env, s.cfg.BaseEnv...)
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to launch command with executor: %w", err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says it all
		e := Exit{Code: p.cmd.ProcessState.ExitCode()}
		if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			e.Signal = int(ws.Signal())
			e.Code = 128 + e.Signal
		}
		p.ended <- e
	}()
	return p, nil
}

// environment of a task as a client sets it.
func (s *Server) environment(a *allocation, t *task, dir string) map[string]string {
	s.mu.Lock()
	name, group, id, namespace := a.name(), a.group.Name, a.job.ID, a.job.Namespace
	s.mu.Unlock()
	env := map[string]string{
		"NOMAD_ALLOC_ID":    a.ID,
		"NOMAD_ALLOC_NAME":  name,
		"NOMAD_ALLOC_INDEX": strconv.Itoa(a.Index),
		"NOMAD_ALLOC_DIR":   filepath.Join(s.cfg.Dir, a.ID),
		"NOMAD_TASK_DIR":    filepath.Join(dir, "local"),
		"NOMAD_TASK_NAME":   t.Name,
		"NOMAD_GROUP_NAME":  group,
		"NOMAD_JOB_ID":      id,
		"NOMAD_JOB_NAME":    id,
		"NOMAD_NAMESPACE":   namespace,
		"NOMAD_DC":          a.node.Datacenter,
		"NOMAD_REGION":      "global",
	}
	for label, port := range a.Ports {
		env["NOMAD_PORT_"+label] = strconv.Itoa(port)
		env["NOMAD_HOST_PORT_"+label] = strconv.Itoa(port)
		env["NOMAD_IP_"+label] = "127.0.0.1"
		env["NOMAD_ADDR_"+label] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	known := jobs.Interpolate
	for k, v := range t.Env {
		env[k] = known(v, env)
	}
	return env
}

// ports gives each port of the group a number that is free at the moment.
func (s *Server) ports(g *group) map[string]int {
	numbers := make(map[string]int, len(g.Ports))
	for _, p := range g.Ports {
		numbers[p.Label] = p.Static
		if p.Static == 0 {
			numbers[p.Label] = freePort()
		}
	}
	return numbers
}

// freePort returns a port of Nomad's dynamic range that nobody listens on.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		return port
	}
}

func (p *process) signal(sig syscall.Signal) {
	if p.cmd == nil {
		select {
		case p.quit <- sig:
		default:
		}
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, sig) // an error means that it has ended
}

func (p *process) kill() { p.signal(syscall.SIGKILL) }

// stop sends a kill signal, SIGINT unless named, and SIGKILL after a timeout.
func (p *process) stop(ctx context.Context, name string, timeout time.Duration) Exit {
	sig := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT, "SIGHUP": syscall.SIGHUP,
		"SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2, "SIGKILL": syscall.SIGKILL}[name]
	if sig == 0 {
		sig = syscall.SIGINT
	}
	p.signal(sig)
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case e := <-p.ended:
		return e
	case <-timer.C:
	case <-ctx.Done():
	}
	p.kill()
	return <-p.ended
}
