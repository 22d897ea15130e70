package operatortest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
)

// Cluster is a kube-apiserver with etcd that knows the fleet's resources.
type Cluster struct {
	Config *rest.Config
	// Client reads from the API server itself, without a cache.
	Client client.WithWatch
	// Environment is what runs the two.
	Environment *envtest.Environment
}

// StartCluster starts the servers whose binaries lie in $KUBEBUILDER_ASSETS.
func StartCluster() (*Cluster, error) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return nil, fmt.Errorf("KUBEBUILDER_ASSETS is not set: these tests need etcd and kube-apiserver, let it name the folder that holds them (`bin/seatrial assets` prints one)")
	}
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{CRDs()},
		ErrorIfCRDPathMissing: true,
	}
	c := &Cluster{Environment: environment}
	if err := c.start(); err != nil {
		// What did start must not outlive the tests.
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start() error {
	config, err := c.Environment.Start()
	if err != nil {
		return fmt.Errorf("start etcd and kube-apiserver of KUBEBUILDER_ASSETS=%s: %w", os.Getenv("KUBEBUILDER_ASSETS"), err)
	}
	c.Config = config
	scheme := kruntime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme)); err != nil {
		return fmt.Errorf("register the resources: %w", err)
	}
	unlimited := rest.CopyConfig(config)
	unlimited.QPS = -1
	if c.Client, err = client.NewWithWatch(unlimited, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	return c.allow()
}

// operatorUser is whom the operator is to the API server: it may do what its
// role says and nothing else.
const operatorUser = "operator"

// DataNamespace is the one namespace in which the operator may read Secrets and
// ConfigMaps.
const DataNamespace = "default"

// LeaderNamespace is the one in which operators agree on whose turn it is.
const LeaderNamespace = "default"

// EnrolNamespace is the one in which the operator finds enrolment tokens.
const EnrolNamespace = "enrolment"

// allow gives the operator's user the operator's role.
func (c *Cluster) allow() error {
	text, err := os.ReadFile(filepath.Join(Root(), "config", "rbac", "role.yaml"))
	if err != nil {
		return fmt.Errorf("read the operator's role: %w", err)
	}
	role := new(unstructured.Unstructured)
	if err := yaml.Unmarshal(text, &role.Object); err != nil {
		return fmt.Errorf("read the operator's role: %w", err)
	}
	binding := new(unstructured.Unstructured)
	binding.Object = map[string]any{
		"apiVersion": role.GetAPIVersion(), "kind": "ClusterRoleBinding",
		"metadata": map[string]any{"name": role.GetName()},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": role.GetKind(), "name": role.GetName()},
		"subjects": []any{map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": operatorUser}},
	}
	// What the chart gives it in its own namespace, and in those that it is told.
	lease := []string{"fleet-operator.fleet.seatrial.dev"}
	leader, leads := grant(LeaderNamespace, "fleet-operator-leader",
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		rbacv1.PolicyRule{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: lease, Verbs: []string{"get", "update"}},
		rbacv1.PolicyRule{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	)
	data, reads := grant(DataNamespace, "fleet-operator-data", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets", "configmaps"}, Verbs: []string{"get", "watch"},
	})
	tokens, uses := grant(EnrolNamespace, "fleet-operator-enrol", rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "update"},
	})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: EnrolNamespace}}
	for _, o := range []client.Object{role, binding, leader, leads, data, reads, namespace, tokens, uses} {
		if err := c.Client.Create(context.Background(), o); err != nil {
			return fmt.Errorf("give the operator its role: %w", err)
		}
	}
	return nil
}

// grant is a role in a namespace, and what gives it to the operator's user.
func grant(namespace, name string, rules ...rbacv1.PolicyRule) (*rbacv1.Role, *rbacv1.RoleBinding) {
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	return &rbacv1.Role{ObjectMeta: meta, Rules: rules}, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	}
}

// Stop ends the servers.
func (c *Cluster) Stop() error { return c.Environment.Stop() }

// CRDs is the folder of the generated custom resource definitions.
func CRDs() string { return filepath.Join(Root(), "config", "crd") }

// Root is the folder operator/ of the checkout.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// writeKubeconfig writes the operator's kubeconfig.
func (c *Cluster) writeKubeconfig(file string) error {
	user, err := c.Environment.AddUser(envtest.User{Name: operatorUser}, nil)
	if err != nil {
		return fmt.Errorf("make a user for the operator: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return fmt.Errorf("make the operator's kubeconfig: %w", err)
	}
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return fmt.Errorf("write the operator's kubeconfig: %w", err)
	}
	return nil
}
