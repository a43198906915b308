package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
)

const tokenUsage = `NAME:
   k3s token - Manage bootstrap tokens

COMMANDS:
   create    make a token in the cluster
   delete    take tokens out of the cluster
   generate  print a token that the cluster does not know
   list      show the cluster's tokens
`

// tokenFlags are the flags of the token commands.
type tokenFlags struct {
	set         *flag.FlagSet
	kubeconfig  string
	description string
	output      string
	groups      string
	usages      string
	ttl         time.Duration
}

func parseTokenFlags(command string, args []string) (*tokenFlags, error) {
	f := &tokenFlags{set: flag.NewFlagSet("k3s token "+command, flag.ContinueOnError)}
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		kubeconfig = defaultKubeconfig
	}
	f.set.StringVar(&f.kubeconfig, "kubeconfig", kubeconfig, "kubeconfig of the cluster")
	f.set.String("data-dir", defaultDataDir, "directory of the state")
	switch command {
	case "create":
		f.set.StringVar(&f.description, "description", "", "what the token is for")
		f.set.StringVar(&f.groups, "groups", tokenGroup, "groups that the token's owner belongs to")
		f.set.StringVar(&f.usages, "usages", "signing,authentication", "what the token may be used for")
		f.set.DurationVar(&f.ttl, "ttl", 24*time.Hour, "how long the token lives, 0 for ever")
	case "list":
		f.set.StringVar(&f.output, "output", "text", "text or json")
		f.set.StringVar(&f.output, "o", "text", "text or json")
	}
	f.set.SetOutput(os.Stdout)
	if err := f.set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, exitCode(0)
		}
		return nil, err
	}
	return f, nil
}

// tokenCommand is `k3s token ...`: join tokens are the API's own bootstrap tokens, so the API judges them.
func tokenCommand(args []string) error {
	if len(args) == 0 || contains([]string{"help", "h", "--help", "-h"}, args[0]) {
		fmt.Print(tokenUsage)
		return nil
	}
	command := args[0]
	if command == "rotate" {
		return errors.New("k3s token rotate: the lab's stand-in does not model this command")
	}
	if !contains([]string{"create", "delete", "generate", "list"}, command) {
		fmt.Printf("No help topic for '%s'\n", command)
		return exitCode(3)
	}
	f, err := parseTokenFlags(command, args[1:])
	if err != nil {
		return err
	}
	if command == "generate" {
		fmt.Println(random(6, lowerAlphanumeric) + "." + random(16, lowerAlphanumeric))
		return nil
	}
	client, ca, err := fromKubeconfig(f.kubeconfig)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch command {
	case "create":
		return createToken(ctx, client, ca, f)
	case "delete":
		return deleteTokens(ctx, client, f.set.Args())
	default:
		return listTokens(ctx, client, f.output)
	}
}

func createToken(ctx context.Context, client *api, ca []byte, f *tokenFlags) error {
	token := f.set.Arg(0)
	if token == "" {
		token = random(6, lowerAlphanumeric) + "." + random(16, lowerAlphanumeric)
	}
	if !bootstrapToken.MatchString(token) {
		return fmt.Errorf("the bootstrap token %q was not of the form %q", token, bootstrapToken)
	}
	if f.ttl < 0 {
		return errors.New("the token's ttl must not be negative")
	}
	id, secret, _ := strings.Cut(token, ".")
	data := map[string]string{"token-id": id, "token-secret": secret, "auth-extra-groups": f.groups}
	if f.description != "" {
		data["description"] = f.description
	}
	if f.ttl > 0 {
		data["expiration"] = time.Now().UTC().Add(f.ttl).Format(time.RFC3339)
	}
	for _, usage := range strings.Split(f.usages, ",") {
		if usage != "signing" && usage != "authentication" {
			return fmt.Errorf("invalid bootstrap token usage %q", usage)
		}
		data["usage-bootstrap-"+usage] = "true"
	}
	body := object{
		"apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
		"metadata": object{"name": "bootstrap-token-" + id, "namespace": "kube-system"}, "stringData": data,
	}
	err := client.do(ctx, http.MethodPost, secretsPath, jsonType, body, nil)
	if hasStatus(err, http.StatusConflict) {
		return fmt.Errorf("a token with id %q already exists", id)
	}
	if err != nil {
		return err
	}
	fmt.Printf("K10%s::%s\n", caHash(ca), token)
	return nil
}

func deleteTokens(ctx context.Context, client *api, tokens []string) error {
	if len(tokens) == 0 {
		return errors.New("missing argument; 'token delete' is missing token")
	}
	for _, token := range tokens {
		if _, short, ok := strings.Cut(token, "::"); ok {
			token = short
		}
		id, _, _ := strings.Cut(token, ".")
		if !regexp.MustCompile(`^[a-z0-9]{6}$`).MatchString(id) {
			return fmt.Errorf("given token didn't match pattern %q", bootstrapToken)
		}
		if err := client.do(ctx, http.MethodDelete, secretsPath+"/bootstrap-token-"+id, "", nil, nil); err != nil {
			return fmt.Errorf("failed to delete bootstrap token %q: %w", id, err)
		}
		fmt.Printf("bootstrap token %q deleted\n", id)
	}
	return nil
}

// listed is one line of `k3s token list`.
type listed struct {
	Token       string     `json:"token"`
	Description string     `json:"description,omitempty"`
	Expires     *time.Time `json:"expires,omitempty"`
	Usages      []string   `json:"usages,omitempty"`
	Groups      []string   `json:"groups,omitempty"`
}

func listTokens(ctx context.Context, client *api, output string) error {
	var secrets struct {
		Items []struct {
			Data map[string][]byte `json:"data"`
		} `json:"items"`
	}
	selector := url.Values{"fieldSelector": {"type=bootstrap.kubernetes.io/token"}}
	if err := client.do(ctx, http.MethodGet, secretsPath+"?"+selector.Encode(), "", nil, &secrets); err != nil {
		return fmt.Errorf("failed to list bootstrap tokens: %w", err)
	}
	tokens := []listed{}
	for _, secret := range secrets.Items {
		entry := listed{Token: string(secret.Data["token-id"]), Description: string(secret.Data["description"])}
		for name := range secret.Data {
			if usage, ok := strings.CutPrefix(name, "usage-bootstrap-"); ok && string(secret.Data[name]) == "true" {
				entry.Usages = append(entry.Usages, usage)
			}
		}
		sort.Strings(entry.Usages)
		if groups := string(secret.Data["auth-extra-groups"]); groups != "" {
			entry.Groups = strings.Split(groups, ",")
		}
		if text, ok := secret.Data["expiration"]; ok {
			expires, err := time.Parse(time.RFC3339, string(text))
			if err != nil {
				return fmt.Errorf("token %s: %w", entry.Token, err)
			}
			entry.Expires = &expires
		}
		tokens = append(tokens, entry)
	}
	switch output {
	case "json":
		return json.NewEncoder(os.Stdout).Encode(tokens)
	case "text":
	default:
		return fmt.Errorf("k3s token list: the lab's stand-in does not model the output %q", output)
	}
	table := tabwriter.NewWriter(os.Stdout, 10, 4, 3, ' ', 0)
	fmt.Fprintln(table, "TOKEN\tTTL\tEXPIRES\tUSAGES\tDESCRIPTION\tEXTRA GROUPS")
	for _, token := range tokens {
		left, expires := "<forever>", "<never>"
		if token.Expires != nil {
			left, expires = shortDuration(time.Until(*token.Expires)), token.Expires.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", token.Token, left, expires,
			orNone(strings.Join(token.Usages, ",")), orNone(token.Description), orNone(strings.Join(token.Groups, ",")))
	}
	return table.Flush()
}

// shortDuration is a length in its largest unit.
func shortDuration(length time.Duration) string {
	switch {
	case length < 0:
		return "<invalid>"
	case length < time.Minute:
		return fmt.Sprintf("%ds", int(length.Seconds()))
	case length < time.Hour:
		return fmt.Sprintf("%dm", int(length.Minutes()))
	case length < 24*time.Hour:
		return fmt.Sprintf("%dh", int(length.Hours()))
	default:
		return fmt.Sprintf("%dd", int(length.Hours()/24))
	}
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}

// encryptCommand is `k3s secrets-encrypt status`; key rotation is not modelled.
func encryptCommand(args []string) error {
	if len(args) != 1 || args[0] != "status" {
		return errors.New("k3s secrets-encrypt: the lab's stand-in models only the status command")
	}
	state := filepath.Join(defaultDataDir, "server")
	if _, err := os.Stat(filepath.Join(state, "token")); err != nil {
		return fmt.Errorf("this must be run on a server: %w", err)
	}
	_, err := os.Stat(filepath.Join(state, "cred", "encryption-config.json"))
	if errors.Is(err, os.ErrNotExist) {
		fmt.Println("Encryption Status: Disabled, no configuration file found")
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println("Encryption Status: Enabled\nCurrent Rotation Stage: start\nServer Encryption Hashes: All hashes match")
	fmt.Println("\nActive  Key Type  Name\n------  --------  ----\n *      AES-CBC   aescbckey")
	return nil
}
