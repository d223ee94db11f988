/** Version of etcd's protocol this member speaks, as clients see it in Status and at /version. */
export const PROTOCOL_VERSION = '3.5.30';

/** Version of the cluster, decided by its oldest member: the protocol version with its patch level cut. */
export const CLUSTER_VERSION = '3.5.0';

/** Our own version, shown beside the protocol's. Kept equal to the packages' by the release script. */
export const ETSD_VERSION = '0.1.0';

/** The oldest version of a cluster that a member of this version can belong to. */
export const MIN_CLUSTER_VERSION = '3.0.0';
