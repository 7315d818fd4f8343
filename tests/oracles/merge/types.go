package main

import (
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The parts of Argo's types that carry a merge rule, or lead to one. Rules only: everything else is left out or a plain map.

type workflow struct {
	meta.TypeMeta   `json:",inline"`
	meta.ObjectMeta `json:"metadata"`
	Spec            workflowSpec `json:"spec"`
}

type workflowSpec struct {
	Templates          []template                   `json:"templates,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	Entrypoint         string                       `json:"entrypoint,omitempty"`
	Arguments          arguments                    `json:"arguments,omitempty"`
	ServiceAccountName string                       `json:"serviceAccountName,omitempty"`
	Volumes            []core.Volume                `json:"volumes,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	VolumeClaims       []core.PersistentVolumeClaim `json:"volumeClaimTemplates,omitempty"`
	NodeSelector       map[string]string            `json:"nodeSelector,omitempty"`
	Affinity           *core.Affinity               `json:"affinity,omitempty"`
	Tolerations        []core.Toleration            `json:"tolerations,omitempty" patchStrategy:"merge" patchMergeKey:"key"`
	ImagePullSecrets   []core.LocalObjectReference  `json:"imagePullSecrets,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	HostAliases        []core.HostAlias             `json:"hostAliases,omitempty" patchStrategy:"merge" patchMergeKey:"ip"`
	SecurityContext    *core.PodSecurityContext     `json:"securityContext,omitempty"`
	TemplateDefaults   *template                    `json:"templateDefaults,omitempty"`
	PodMetadata        *metadata                    `json:"podMetadata,omitempty"`
}

type metadata struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
}

type template struct {
	Name            string            `json:"name,omitempty"`
	Inputs          arguments         `json:"inputs,omitempty"`
	Outputs         arguments         `json:"outputs,omitempty"`
	NodeSelector    map[string]string `json:"nodeSelector,omitempty"`
	Metadata        metadata          `json:"metadata,omitempty"`
	Steps           []steps           `json:"steps,omitempty"`
	Container       *core.Container   `json:"container,omitempty"`
	Script          *script           `json:"script,omitempty"`
	DAG             *dag              `json:"dag,omitempty"`
	ContainerSet    *containerSet     `json:"containerSet,omitempty"`
	Volumes         []core.Volume     `json:"volumes,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	InitContainers  []userContainer   `json:"initContainers,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	Sidecars        []userContainer   `json:"sidecars,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	ArchiveLocation *Location         `json:"archiveLocation,omitempty"`
	Tolerations     []core.Toleration `json:"tolerations,omitempty" patchStrategy:"merge" patchMergeKey:"key"`
	HostAliases     []core.HostAlias  `json:"hostAliases,omitempty" patchStrategy:"merge" patchMergeKey:"ip"`
	RetryStrategy   *retry            `json:"retryStrategy,omitempty"`
	Timeout         string            `json:"timeout,omitempty"`
	PodSpecPatch    string            `json:"podSpecPatch,omitempty"`
}

type steps struct{}

type retry struct {
	Limit       string `json:"limit,omitempty"`
	RetryPolicy string `json:"retryPolicy,omitempty"`
}

type script struct {
	core.Container `json:",inline"`
	Source         string `json:"source"`
}

type userContainer struct {
	core.Container     `json:",inline"`
	MirrorVolumeMounts *bool `json:"mirrorVolumeMounts,omitempty"`
}

type containerSet struct {
	Containers   []userContainer    `json:"containers"`
	VolumeMounts []core.VolumeMount `json:"volumeMounts,omitempty"`
}

type dag struct {
	Tasks    []task `json:"tasks" patchStrategy:"merge" patchMergeKey:"name"`
	FailFast *bool  `json:"failFast,omitempty"`
}

type task struct {
	Name         string    `json:"name"`
	Template     string    `json:"template,omitempty"`
	Inline       *template `json:"inline,omitempty"`
	Arguments    arguments `json:"arguments,omitempty"`
	Dependencies []string  `json:"dependencies,omitempty"`
}

type arguments struct {
	Parameters []parameter `json:"parameters,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
	Artifacts  []artifact  `json:"artifacts,omitempty" patchStrategy:"merge" patchMergeKey:"name"`
}

type parameter struct {
	Name      string     `json:"name"`
	Value     *string    `json:"value,omitempty"`
	ValueFrom *valueFrom `json:"valueFrom,omitempty"`
	Enum      []string   `json:"enum,omitempty"`
}

type valueFrom struct {
	Path    string  `json:"path,omitempty"`
	Default *string `json:"default,omitempty"`
}

type artifact struct {
	Name     string `json:"name"`
	Path     string `json:"path,omitempty"`
	Location `json:",inline"`
}

type Location struct {
	ArchiveLogs *bool `json:"archiveLogs,omitempty"`
	S3          *s3   `json:"s3,omitempty"`
	Git         *git  `json:"git,omitempty"`
}

type s3 struct {
	Endpoint        string                  `json:"endpoint,omitempty"`
	Bucket          string                  `json:"bucket,omitempty"`
	AccessKeySecret *core.SecretKeySelector `json:"accessKeySecret,omitempty"`
	Key             string                  `json:"key,omitempty"`
}

type git struct {
	Repo  string   `json:"repo"`
	Fetch []string `json:"fetch,omitempty"`
}
