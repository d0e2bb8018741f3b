package config

import (
	"slices"
	"strings"
)

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

// Effective lists all options with the values that hold, for the log: numbers, booleans and lists as such. Options without effect have their
// defaults whatever was given, and those that are there only to be ignored are left out, as are passwords.
func (c *Config) Effective() []any {
	var list []any
	defaults := Default().options()
	for i, o := range c.options() {
		value := o.Value
		if o.Idle != "" {
			value = defaults[i].Value
		}
		switch v := value.(type) {
		case swallowed:
		case logged:
			list = append(list, o.Name, withoutSecretIn(o.Name, v.logged()))
		default:
			list = append(list, o.Name, withoutSecret(o.Name, v.String()))
		}
	}
	return list
}

// logged is a value of an option that is more than text in the log.
type logged interface{ logged() any }

func (v scalar[T]) logged() any { return *v.field }

func (u *URLs) logged() any { return u.Strings() }

func (w *Words) logged() any { return slices.Clone(*w) }

// withoutSecretIn is withoutSecret for a value that may be no text.
func withoutSecretIn(name string, value any) any {
	if text, ok := value.(string); ok {
		return withoutSecret(name, text)
	}
	return value
}

func withoutSecret(name, value string) string {
	if value == "" {
		return value
	}
	switch name {
	case "discovery-password", "discovery-token":
		return "(not shown)"
	case "discovery-user":
		user, _, _ := strings.Cut(value, ":")
		return user
	}
	return value
}
