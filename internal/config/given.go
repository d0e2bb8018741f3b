package config

import "strings"

// Given lists the options that were given another value than their default, with these values as text, for the log. Passwords are left out.
func (c *Config) Given() []any {
	var list []any
	defaults := Default().options()
	for i, o := range c.options() {
		value := o.Value.String()
		if !c.set[o.Name] || value == defaults[i].Default || o.Idle != "" {
			continue
		}
		list = append(list, o.Name, withoutSecret(o.Name, value))
	}
	return list
}

func withoutSecret(name, value string) string {
	switch name {
	case "discovery-password", "discovery-token":
		return "(not shown)"
	case "discovery-user":
		user, _, _ := strings.Cut(value, ":")
		return user
	}
	return value
}
