package ctl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"
)

// headed is a response that says nothing but that it was done.
type headed interface {
	proto.Message
	GetHeader() *etcdserverpb.ResponseHeader
}

// done is the answer of a command whose response says nothing but that.
func done(r headed, form string, args ...any) answer {
	return answer{json: r, proto: r, simple: line(form, args...), fields: func(f *fieldWriter) { f.header(r.GetHeader()) }}
}

func (g *globals) authCommand() *cobra.Command {
	return family("auth <enable, disable or status>", "Turn users and permissions on and off", &cobra.Command{
		Use: "enable", Short: "Turn them on; the user root and its role are completed",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(ExitBadArguments, "auth enable command does not accept any arguments")
			}
			return g.call(cmd, enableAuth)
		},
	}, &cobra.Command{
		Use: "disable", Short: "Turn them off",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(ExitBadArguments, "auth disable command does not accept any arguments")
			}
			return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
				r, err := c.AuthDisable(ctx)
				return done((*etcdserverpb.AuthDisableResponse)(r), "Authentication Disabled"), err
			})
		},
	}, &cobra.Command{
		Use: "status", Short: "Tell whether they are on",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fail(ExitBadArguments, "auth status command does not accept any arguments")
			}
			return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
				r, err := c.AuthStatus(ctx)
				if err != nil {
					return answer{}, err
				}
				return answer{
					json: r, proto: (*etcdserverpb.AuthStatusResponse)(r),
					simple: line("Authentication Status: %v\nAuthRevision: %d", r.Enabled, r.AuthRevision),
				}, nil
			})
		},
	})
}

// enableAuth turns authentication on. What it misses of the user root, other than the user itself, is made first.
func enableAuth(ctx context.Context, c *clientv3.Client) (answer, error) {
	for {
		r, err := c.AuthEnable(ctx)
		if !errors.Is(err, rpctypes.ErrRootRoleNotExist) {
			return done((*etcdserverpb.AuthEnableResponse)(r), "Authentication Enabled"), err
		}
		if _, err := c.RoleAdd(ctx, "root"); err != nil && !errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return answer{}, err
		}
		if _, err := c.UserGrantRole(ctx, "root", "root"); err != nil {
			return answer{}, err
		}
	}
}

// namesCommand is a command that takes exactly so many names.
func (g *globals) namesCommand(
	use, short string, names int, complaint string,
	do func(context.Context, *clientv3.Client, []string) (answer, error),
) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) != names {
			return fail(ExitBadArguments, "%s", complaint)
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) { return do(ctx, c, args) })
	}}
}

func (g *globals) userCommand() *cobra.Command {
	return family(
		"user <subcommand>", "Add, change and list users", g.userAdd(), g.userGet(), g.userPassword(),
		g.namesCommand("delete <user name>", "Delete a user", 1, "user delete command requires user name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.UserDelete(ctx, n[0])
				return done((*etcdserverpb.AuthUserDeleteResponse)(r), "User %s deleted", n[0]), err
			}),
		g.namesCommand("list", "List all users", 0, "user list command requires no arguments",
			func(ctx context.Context, c *clientv3.Client, _ []string) (answer, error) {
				r, err := c.UserList(ctx)
				return answer{json: r, proto: (*etcdserverpb.AuthUserListResponse)(r), simple: func(w io.Writer) error { return writeLines(w, r.Users) }}, err
			}),
		g.namesCommand("grant-role <user name> <role name>", "Give a user a role", 2, "user grant command requires user name and role name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.UserGrantRole(ctx, n[0], n[1])
				return done((*etcdserverpb.AuthUserGrantRoleResponse)(r), "Role %s is granted to user %s", n[1], n[0]), err
			}),
		g.namesCommand("revoke-role <user name> <role name>", "Take a role from a user", 2, "user revoke-role requires user name and role name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.UserRevokeRole(ctx, n[0], n[1])
				return done((*etcdserverpb.AuthUserRevokeRoleResponse)(r), "Role %s is revoked from user %s", n[1], n[0]), err
			}),
	)
}

func writeLines(w io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	return nil
}

func (g *globals) userAdd() *cobra.Command {
	var interactive, noPassword bool
	var password string
	cmd := &cobra.Command{Use: "add <user name or user:password> [options]", Short: "Add a user"}
	cmd.Flags().BoolVar(&interactive, "interactive", true, "ask for the password; else it is the first line of standard input")
	cmd.Flags().StringVar(&password, "new-user-password", "", "the password")
	cmd.Flags().BoolVar(&noPassword, "no-password", false, "no password: only a certificate lets the user in")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "user add command requires user name as its argument")
		}
		user := args[0]
		switch name, inline, found := strings.Cut(user, ":"); {
		case noPassword, password != "":
		case found:
			user, password = name, inline
		default:
			var err error
			if password, err = askPassword(cmd, "Password of "+user+": ", interactive); err != nil {
				return err
			}
		}
		if user == "" {
			return fail(ExitBadArguments, "empty user name is not allowed")
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.UserAddWithOptions(ctx, user, password, &clientv3.UserAddOptions{NoPassword: noPassword})
			return done((*etcdserverpb.AuthUserAddResponse)(r), "User %s created", user), err
		})
	}
	return cmd
}

// askPassword reads a password from standard input, twice if it was asked for. What is typed on a terminal is shown.
func askPassword(cmd *cobra.Command, prompt string, interactive bool) (string, error) {
	in := bufio.NewScanner(cmd.InOrStdin())
	read := func(prompt string) string {
		if interactive {
			cmd.PrintErr(prompt)
		}
		in.Scan()
		return in.Text()
	}
	password := read(prompt)
	if interactive && read("Type password again for confirmation: ") != password {
		return "", fail(ExitBadArguments, "given passwords are different")
	}
	if err := in.Err(); err != nil {
		return "", fail(ExitIO, "read the password: %w", err)
	}
	return password, nil
}

func (g *globals) userPassword() *cobra.Command {
	var interactive bool
	cmd := &cobra.Command{Use: "passwd <user name> [options]", Short: "Change a user's password"}
	cmd.Flags().BoolVar(&interactive, "interactive", true, "ask for the password; else it is the first line of standard input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fail(ExitBadArguments, "user passwd command requires user name as its argument")
		}
		password, err := askPassword(cmd, "Password of "+args[0]+": ", interactive)
		if err != nil {
			return err
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.UserChangePassword(ctx, args[0], password)
			return done((*etcdserverpb.AuthUserChangePasswordResponse)(r), "Password updated"), err
		})
	}
	return cmd
}

func (g *globals) userGet() *cobra.Command {
	var detail bool
	cmd := g.namesCommand("get <user name> [options]", "Print the roles of a user", 1, "user get command requires user name as its argument",
		func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
			r, err := c.UserGet(ctx, n[0])
			if err != nil {
				return answer{}, err
			}
			a := answer{
				json: r, proto: (*etcdserverpb.AuthUserGetResponse)(r),
				simple: line("User: %s\nRoles:%s", n[0], strings.Join(append([]string{""}, r.Roles...), " ")),
			}
			if !detail {
				return a, nil
			}
			text := fmt.Sprintf("User: %s\n", n[0])
			for _, role := range r.Roles {
				held, err := c.RoleGet(ctx, role)
				if err != nil {
					return answer{}, err
				}
				text += "\n" + roleText(role, (*etcdserverpb.AuthRoleGetResponse)(held))
			}
			a.simple = func(w io.Writer) error {
				_, err := io.WriteString(w, text)
				return err
			}
			return a, nil
		})
	cmd.Flags().BoolVar(&detail, "detail", false, "also what the roles permit")
	return cmd
}
