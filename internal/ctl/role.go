package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/authpb"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func (g *globals) roleCommand() *cobra.Command {
	return family(
		"role <subcommand>", "Add, change and list roles", g.roleGrant(), g.roleRevoke(),
		g.namesCommand("add <role name>", "Add a role", 1, "role add command requires role name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.RoleAdd(ctx, n[0])
				return done((*etcdserverpb.AuthRoleAddResponse)(r), "Role %s created", n[0]), err
			}),
		g.namesCommand("delete <role name>", "Delete a role", 1, "role delete command requires role name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.RoleDelete(ctx, n[0])
				return done((*etcdserverpb.AuthRoleDeleteResponse)(r), "Role %s deleted", n[0]), err
			}),
		g.namesCommand("get <role name>", "Print what a role permits", 1, "role get command requires role name as its argument",
			func(ctx context.Context, c *clientv3.Client, n []string) (answer, error) {
				r, err := c.RoleGet(ctx, n[0])
				return answer{
					json: r, proto: (*etcdserverpb.AuthRoleGetResponse)(r),
					simple: func(w io.Writer) error {
						_, err := io.WriteString(w, roleText(n[0], (*etcdserverpb.AuthRoleGetResponse)(r)))
						return err
					},
					fields: func(f *fieldWriter) {
						f.header(r.Header)
						for _, p := range r.Perm {
							f.print("%q :  %v", "PermType", p.PermType)
							f.field("Key", p.Key)
							f.field("RangeEnd", p.RangeEnd)
						}
					},
				}, err
			}),
		g.namesCommand("list", "List all roles", 0, "role list command requires no arguments",
			func(ctx context.Context, c *clientv3.Client, _ []string) (answer, error) {
				r, err := c.RoleList(ctx)
				return answer{
					json: r, proto: (*etcdserverpb.AuthRoleListResponse)(r), simple: func(w io.Writer) error { return writeLines(w, r.Roles) },
					fields: func(f *fieldWriter) {
						f.header(r.Header)
						text := `"Roles" :`
						for _, role := range r.Roles {
							text += fmt.Sprintf(" %q", role)
						}
						f.print("%s", text)
					},
				}, err
			}),
	)
}

// roleText says what a role permits to read, and then what to write.
func roleText(name string, r *etcdserverpb.AuthRoleGetResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Role %s\nKV Read:\n", name)
	for _, p := range r.Perm {
		if p.PermType != authpb.Permission_WRITE {
			fmt.Fprintf(&b, "\t%s\n", permitted(p))
		}
	}
	b.WriteString("KV Write:\n")
	for _, p := range r.Perm {
		if p.PermType != authpb.Permission_READ {
			fmt.Fprintf(&b, "\t%s\n", permitted(p))
		}
	}
	return b.String()
}

// permitted is the range of a permission.
func permitted(p *authpb.Permission) string {
	key, end := string(p.Key), string(p.RangeEnd)
	switch {
	case end == "":
		return key
	case end == "\x00":
		return fmt.Sprintf("[%s, <open ended>", key)
	case end == clientv3.GetPrefixRangeEnd(key):
		return fmt.Sprintf("[%s, %s) (prefix %s)", key, end, key)
	}
	return fmt.Sprintf("[%s, %s)", key, end)
}

// permissionRange is what a permission command is about.
func (s *span) permissionRange(args []string) (key, end string, err error) {
	switch {
	case s.prefix && s.fromKey:
		return "", "", fail(ExitBadArguments, "`--prefix` and `--from-key` cannot be set at the same time, choose one")
	case len(args) == 2 && s.prefix:
		return "", "", fail(ExitBadArguments, "unexpected endkey argument with --prefix flag")
	case len(args) == 2 && s.fromKey:
		return "", "", fail(ExitBadArguments, "unexpected endkey argument with --from-key flag")
	case len(args) == 2:
		return args[0], args[1], nil
	case s.fromKey, s.prefix && args[0] == "":
		return orLowest(args[0]), "\x00", nil
	case s.prefix:
		return args[0], clientv3.GetPrefixRangeEnd(args[0]), nil
	}
	return args[0], "", nil
}

// orLowest is the key, or the lowest there is for the empty one.
func orLowest(key string) string {
	if key == "" {
		return "\x00"
	}
	return key
}

func (g *globals) roleGrant() *cobra.Command {
	var s span
	cmd := &cobra.Command{Use: "grant-permission [options] <role name> <permission type> <key> [endkey]", Short: "Permit a role something"}
	s.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 3 || len(args) > 4 {
			return fail(ExitBadArguments, "role grant command requires role name, permission type, and key [endkey] as its argument")
		}
		kind, err := clientv3.StrToPermissionType(args[1])
		if err != nil {
			return fail(ExitBadArguments, "%w", err)
		}
		key, end, err := s.permissionRange(args[2:])
		if err != nil {
			return err
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.RoleGrantPermission(ctx, args[0], key, end, kind)
			return done((*etcdserverpb.AuthRoleGrantPermissionResponse)(r), "Role %s updated", args[0]), err
		})
	}
	return cmd
}

func (g *globals) roleRevoke() *cobra.Command {
	var s span
	cmd := &cobra.Command{Use: "revoke-permission <role name> <key> [endkey]", Short: "Take a permission from a role"}
	s.addFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 || len(args) > 3 {
			return fail(ExitBadArguments, "role revoke-permission command requires role name and key [endkey] as its argument")
		}
		key, end, err := s.permissionRange(args[1:])
		if err != nil {
			return err
		}
		text := fmt.Sprintf("Permission of key %s is revoked from role %s", key, args[0])
		if end == "\x00" {
			text = fmt.Sprintf("Permission of range [%s, <open ended> is revoked from role %s", key, args[0])
		} else if end != "" {
			text = fmt.Sprintf("Permission of range [%s, %s) is revoked from role %s", key, end, args[0])
		}
		return g.call(cmd, func(ctx context.Context, c *clientv3.Client) (answer, error) {
			r, err := c.RoleRevokePermission(ctx, args[0], key, end)
			return done((*etcdserverpb.AuthRoleRevokePermissionResponse)(r), "%s", text), err
		})
	}
	return cmd
}
