// Package redisdb reaches Redis: a client from one URL, an embedded server for
// trials, and a redis-server child process whose data survive a restart.
package redisdb

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Forms says which URLs Open understands.
const Forms = "redis://[user:password@]host:port[/db], rediss://…, unix:///path, " +
	"redis+sentinel://[user:password@]host1,host2/master[/db], redis+cluster://host1,host2"

// Open returns a client for a URL of one of the Forms. It connects at the first
// command, not here. Neither commands nor connections are tried again by the
// client: callers know what may be repeated, and for how long it is worth waiting.
func Open(rawURL string) (redis.UniversalClient, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return nil, fmt.Errorf("redis URL: want one of %s", Forms)
	}
	switch scheme {
	case "redis", "rediss", "unix":
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, fmt.Errorf("redis URL: %w; want one of %s", hide(err, rawURL), Forms)
		}
		u := &redis.UniversalOptions{Addrs: []string{o.Addr}, DB: o.DB, Username: o.Username,
			Password: o.Password, TLSConfig: o.TLSConfig}
		if o.Network == "unix" {
			simple := *o
			limits(&simple)
			return redis.NewClient(&simple), nil
		}
		return redis.NewUniversalClient(universal(u)), nil
	case "redis+sentinel", "redis+cluster":
		u, err := several(scheme, rest)
		if err != nil {
			return nil, err
		}
		return redis.NewUniversalClient(universal(u)), nil
	}
	return nil, fmt.Errorf("redis URL: unknown scheme %q; want one of %s", scheme, Forms)
}

// several reads user:password@h1,h2/… which net/url does not.
func several(scheme, rest string) (*redis.UniversalOptions, error) {
	o := &redis.UniversalOptions{IsClusterMode: scheme == "redis+cluster"}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		var err1, err2 error
		o.Username, err1 = url.PathUnescape(user)
		o.Password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("redis URL: user or password is not percent-encoded")
		}
		rest = rest[at+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	port := "6379"
	if !o.IsClusterMode {
		port = "26379"
	}
	for h := range strings.SplitSeq(hosts, ",") {
		if h == "" {
			return nil, fmt.Errorf("redis URL: an empty host in %q", hosts)
		}
		if _, _, err := net.SplitHostPort(h); err != nil {
			h = net.JoinHostPort(h, port)
		}
		o.Addrs = append(o.Addrs, h)
	}
	if o.IsClusterMode {
		if path != "" {
			return nil, fmt.Errorf("redis URL: a cluster has no database %q", path)
		}
		return o, nil
	}
	master, db, _ := strings.Cut(path, "/")
	if master == "" {
		return nil, fmt.Errorf("redis URL: the master's name is missing; want redis+sentinel://host1,host2/master")
	}
	o.MasterName = master
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("redis URL: database %q is not a number", db)
		}
		o.DB = n
	}
	return o, nil
}

// hide keeps a URL's password out of an error text.
func hide(err error, rawURL string) error {
	return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), rawURL, "the given URL"))
}

const (
	dialTimeout = time.Second
	callTimeout = 2 * time.Second
	poolSize    = 32
)

func universal(o *redis.UniversalOptions) *redis.UniversalOptions {
	o.MaxRetries = -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, callTimeout, callTimeout
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.PoolSize = poolSize
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

func limits(o *redis.Options) {
	o.MaxRetries = -1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, callTimeout, callTimeout
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.PoolSize = poolSize
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
