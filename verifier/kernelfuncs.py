"""Prototypes of kernel functions that tracing and LSM programs attach to, of a 7.3.4 kernel. A table and nothing else.

A row is a name, what it returns, and its parameters NAME=TYPE. Types: u32, s64 numbers; *NAME a pointer to a struct
(*rcu:NAME and so on when tagged, *|NAME to a union); **... a pointer to a pointer; *-WHAT and *() pointers to anything
else; @N a struct of N bytes by value. Here are all hooks of the LSM and all iterators, and the functions that BPF's own
tests use. Read from the kernel's BTF.
"""

from typing import Final

TABLE: Final = """
__set_task_comm void tsk=*task_struct buf=*-int exec=u8
__x64_sys_getpgid s64 regs=*pt_regs
__x64_sys_nanosleep s64 regs=*pt_regs
bpf_check s32 prog=**bpf_prog attr=*|bpf_attr uattr=@16 attr_log=*bpf_log_attr
bpf_fentry_test1 s32 a=s32
bpf_fentry_test10 s32 a=*-void
bpf_fentry_test2 s32 a=s32 b=u64
bpf_fentry_test3 s32 a=u8 b=s32 c=u64
bpf_fentry_test4 s32 a=*-void b=u8 c=s32 d=u64
bpf_fentry_test5 s32 a=u64 b=*-void c=s16 d=s32 e=u64
bpf_fentry_test6 s32 a=u64 b=*-void c=s16 d=s32 e=*-void f=u64
bpf_fentry_test7 s32 arg=*bpf_fentry_test_t
bpf_fentry_test8 s32 arg=*bpf_fentry_test_t
bpf_fentry_test9 u32 a=*-int
bpf_fentry_test_ppfile void ppf=**file
bpf_fentry_test_pppvoid void ppp=***-void
bpf_fentry_test_ppvoid void pp=**-void
bpf_fentry_test_sinfo void sinfo=*skb_shared_info
bpf_fexit_test_ret_ppfile **file
bpf_iter_bpf_link s32 meta=*bpf_iter_meta link=*bpf_link
bpf_iter_bpf_map s32 meta=*bpf_iter_meta map=*bpf_map
bpf_iter_bpf_map_elem s32 meta=*bpf_iter_meta map=*bpf_map key=*-void value=*-void
bpf_iter_bpf_prog s32 meta=*bpf_iter_meta prog=*bpf_prog
bpf_iter_bpf_sk_storage_map s32 meta=*bpf_iter_meta map=*bpf_map sk=*sock value=*-void
bpf_iter_cgroup s32 meta=*bpf_iter_meta cgroup=*cgroup
bpf_iter_dmabuf s32 meta=*bpf_iter_meta dmabuf=*dma_buf
bpf_iter_ipv6_route s32 meta=*bpf_iter_meta rt=*fib6_info
bpf_iter_kmem_cache s32 meta=*bpf_iter_meta s=*kmem_cache
bpf_iter_ksym s32 meta=*bpf_iter_meta ksym=*kallsym_iter
bpf_iter_netlink s32 meta=*bpf_iter_meta sk=*netlink_sock
bpf_iter_sockmap s32 meta=*bpf_iter_meta map=*bpf_map key=*-void sk=*sock
bpf_iter_task s32 meta=*bpf_iter_meta task=*task_struct
bpf_iter_task_file s32 meta=*bpf_iter_meta task=*task_struct fd=u32 file=*file
bpf_iter_task_vma s32 meta=*bpf_iter_meta task=*task_struct vma=*vm_area_struct
bpf_iter_tcp s32 meta=*bpf_iter_meta sk_common=*sock_common uid=u32
bpf_iter_udp s32 meta=*bpf_iter_meta udp_sk=*udp_sock uid=u32 bucket=s32
bpf_iter_unix s32 meta=*bpf_iter_meta unix_sk=*unix_sock uid=u32
bpf_lsm_audit_rule_free void lsmrule=*-void
bpf_lsm_audit_rule_init s32 field=u32 op=u32 rulestr=*-int lsmrule=**-void gfp=u32
bpf_lsm_audit_rule_known s32 krule=*audit_krule
bpf_lsm_audit_rule_match s32 prop=*lsm_prop field=u32 op=u32 lsmrule=*-void
bpf_lsm_backing_file_alloc s32 backing_file=*file user_file=*file
bpf_lsm_backing_file_free void backing_file=*file
bpf_lsm_bdev_alloc_security s32 bdev=*block_device
bpf_lsm_bdev_free_security void bdev=*block_device
bpf_lsm_bdev_setintegrity s32 bdev=*block_device type=u32 value=*-void size=u64
bpf_lsm_binder_set_context_mgr s32 mgr=*cred
bpf_lsm_binder_transaction s32 from=*cred to=*cred
bpf_lsm_binder_transfer_binder s32 from=*cred to=*cred
bpf_lsm_binder_transfer_file s32 from=*cred to=*cred file=*file
bpf_lsm_bpf s32 cmd=s32 attr=*|bpf_attr size=u32 kernel=u8
bpf_lsm_bpf_map s32 map=*bpf_map fmode=u32
bpf_lsm_bpf_map_create s32 map=*bpf_map attr=*|bpf_attr token=*bpf_token kernel=u8
bpf_lsm_bpf_map_free void map=*bpf_map
bpf_lsm_bpf_prog s32 prog=*bpf_prog
bpf_lsm_bpf_prog_free void prog=*bpf_prog
bpf_lsm_bpf_prog_load s32 prog=*bpf_prog attr=*|bpf_attr token=*bpf_token kernel=u8
bpf_lsm_bpf_token_capable s32 token=*bpf_token cap=s32
bpf_lsm_bpf_token_cmd s32 token=*bpf_token cmd=u32
bpf_lsm_bpf_token_create s32 token=*bpf_token attr=*|bpf_attr path=*path
bpf_lsm_bpf_token_free void token=*bpf_token
bpf_lsm_bprm_check_security s32 bprm=*linux_binprm
bpf_lsm_bprm_committed_creds void bprm=*linux_binprm
bpf_lsm_bprm_committing_creds void bprm=*linux_binprm
bpf_lsm_bprm_creds_for_exec s32 bprm=*linux_binprm
bpf_lsm_bprm_creds_from_file s32 bprm=*linux_binprm file=*file
bpf_lsm_capable s32 cred=*cred ns=*user_namespace cap=s32 opts=u32
bpf_lsm_capget s32 target=*task_struct effective=*(anon) inheritable=*(anon) permitted=*(anon)
bpf_lsm_capset s32 new=*cred old=*cred effective=*(anon) inheritable=*(anon) permitted=*(anon)
bpf_lsm_cred_alloc_blank s32 cred=*cred gfp=u32
bpf_lsm_cred_free void cred=*cred
bpf_lsm_cred_getlsmprop void c=*cred prop=*lsm_prop
bpf_lsm_cred_getsecid void c=*cred secid=*-int
bpf_lsm_cred_prepare s32 new=*cred old=*cred gfp=u32
bpf_lsm_cred_transfer void new=*cred old=*cred
bpf_lsm_current_getlsmprop_subj void prop=*lsm_prop
bpf_lsm_d_instantiate void dentry=*dentry inode=*inode
bpf_lsm_dentry_create_files_as s32 dentry=*dentry mode=s32 name=*qstr old=*cred new=*cred
bpf_lsm_dentry_init_security s32 dentry=*dentry mode=s32 name=*qstr xattr_name=**-int cp=*lsm_context
bpf_lsm_file_alloc_security s32 file=*file
bpf_lsm_file_fcntl s32 file=*file cmd=u32 arg=u64
bpf_lsm_file_free_security void file=*file
bpf_lsm_file_ioctl s32 file=*file cmd=u32 arg=u64
bpf_lsm_file_ioctl_compat s32 file=*file cmd=u32 arg=u64
bpf_lsm_file_lock s32 file=*file cmd=u32
bpf_lsm_file_mprotect s32 vma=*vm_area_struct reqprot=u64 prot=u64
bpf_lsm_file_open s32 file=*file
bpf_lsm_file_permission s32 file=*file mask=s32
bpf_lsm_file_post_open s32 file=*file mask=s32
bpf_lsm_file_receive s32 file=*file
bpf_lsm_file_release void file=*file
bpf_lsm_file_send_sigiotask s32 tsk=*task_struct fown=*fown_struct sig=s32
bpf_lsm_file_set_fowner void file=*file
bpf_lsm_file_truncate s32 file=*file
bpf_lsm_fs_context_dup s32 fc=*fs_context src_sc=*fs_context
bpf_lsm_fs_context_parse_param s32 fc=*fs_context param=*fs_parameter
bpf_lsm_fs_context_submount s32 fc=*fs_context reference=*super_block
bpf_lsm_getprocattr s32 p=*task_struct name=*-int value=**-int
bpf_lsm_getselfattr s32 attr=u32 ctx=*lsm_ctx size=*-int flags=u32
bpf_lsm_ib_alloc_security s32 sec=*-void
bpf_lsm_ib_endport_manage_subnet s32 sec=*-void dev_name=*-int port_num=u8
bpf_lsm_ib_pkey_access s32 sec=*-void subnet_prefix=u64 pkey=u16
bpf_lsm_inet_conn_established void sk=*sock skb=*sk_buff
bpf_lsm_inet_conn_request s32 sk=*sock skb=*sk_buff req=*request_sock
bpf_lsm_inet_csk_clone void newsk=*sock req=*request_sock
bpf_lsm_initramfs_populated void
bpf_lsm_inode_alloc_security s32 inode=*inode
bpf_lsm_inode_copy_up s32 src=*dentry new=**cred
bpf_lsm_inode_copy_up_xattr s32 src=*dentry name=*-int
bpf_lsm_inode_create s32 dir=*inode dentry=*dentry mode=u16
bpf_lsm_inode_file_getattr s32 dentry=*dentry fa=*file_kattr
bpf_lsm_inode_file_setattr s32 dentry=*dentry fa=*file_kattr
bpf_lsm_inode_follow_link s32 dentry=*dentry inode=*inode rcu=u8
bpf_lsm_inode_free_security void inode=*inode
bpf_lsm_inode_free_security_rcu void inode_security=*-void
bpf_lsm_inode_get_acl s32 idmap=*mnt_idmap dentry=*dentry acl_name=*-int
bpf_lsm_inode_getattr s32 path=*path
bpf_lsm_inode_getlsmprop void inode=*inode prop=*lsm_prop
bpf_lsm_inode_getsecctx s32 inode=*inode cp=*lsm_context
bpf_lsm_inode_getsecurity s32 idmap=*mnt_idmap inode=*inode name=*-int buffer=**-void alloc=u8
bpf_lsm_inode_getxattr s32 dentry=*dentry name=*-int
bpf_lsm_inode_init_security s32 inode=*inode dir=*inode qstr=*qstr xattrs=*xattr xattr_count=*-int
bpf_lsm_inode_init_security_anon s32 inode=*inode name=*qstr context_inode=*inode
bpf_lsm_inode_invalidate_secctx void inode=*inode
bpf_lsm_inode_killpriv s32 idmap=*mnt_idmap dentry=*dentry
bpf_lsm_inode_link s32 old_dentry=*dentry dir=*inode new_dentry=*dentry
bpf_lsm_inode_listsecurity s32 inode=*inode buffer=**-int remaining_size=*-int
bpf_lsm_inode_listxattr s32 dentry=*dentry
bpf_lsm_inode_mkdir s32 dir=*inode dentry=*dentry mode=u16
bpf_lsm_inode_mknod s32 dir=*inode dentry=*dentry mode=u16 dev=u32
bpf_lsm_inode_need_killpriv s32 dentry=*dentry
bpf_lsm_inode_notifysecctx s32 inode=*inode ctx=*-void ctxlen=u32
bpf_lsm_inode_permission s32 inode=*inode mask=s32
bpf_lsm_inode_post_create_tmpfile void idmap=*mnt_idmap inode=*inode
bpf_lsm_inode_post_remove_acl void idmap=*mnt_idmap dentry=*dentry acl_name=*-int
bpf_lsm_inode_post_removexattr void dentry=*dentry name=*-int
bpf_lsm_inode_post_set_acl void dentry=*dentry acl_name=*-int kacl=*posix_acl
bpf_lsm_inode_post_setattr void idmap=*mnt_idmap dentry=*dentry ia_valid=s32
bpf_lsm_inode_post_setxattr void dentry=*dentry name=*-int value=*-void size=u64 flags=s32
bpf_lsm_inode_readlink s32 dentry=*dentry
bpf_lsm_inode_remove_acl s32 idmap=*mnt_idmap dentry=*dentry acl_name=*-int
bpf_lsm_inode_removexattr s32 idmap=*mnt_idmap dentry=*dentry name=*-int
bpf_lsm_inode_rename s32 old_dir=*inode old_dentry=*dentry new_dir=*inode new_dentry=*dentry
bpf_lsm_inode_rmdir s32 dir=*inode dentry=*dentry
bpf_lsm_inode_set_acl s32 idmap=*mnt_idmap dentry=*dentry acl_name=*-int kacl=*posix_acl
bpf_lsm_inode_setattr s32 idmap=*mnt_idmap dentry=*dentry attr=*iattr
bpf_lsm_inode_setintegrity s32 inode=*inode type=u32 value=*-void size=u64
bpf_lsm_inode_setsecctx s32 dentry=*dentry ctx=*-void ctxlen=u32
bpf_lsm_inode_setsecurity s32 inode=*inode name=*-int value=*-void size=u64 flags=s32
bpf_lsm_inode_setxattr s32 idmap=*mnt_idmap dentry=*dentry name=*-int value=*-void size=u64 flags=s32
bpf_lsm_inode_symlink s32 dir=*inode dentry=*dentry old_name=*-int
bpf_lsm_inode_unlink s32 dir=*inode dentry=*dentry
bpf_lsm_inode_xattr_skipcap s32 name=*-int
bpf_lsm_ipc_getlsmprop void ipcp=*kern_ipc_perm prop=*lsm_prop
bpf_lsm_ipc_permission s32 ipcp=*kern_ipc_perm flag=s16
bpf_lsm_ismaclabel s32 name=*-int
bpf_lsm_kernel_act_as s32 new=*cred secid=u32
bpf_lsm_kernel_create_files_as s32 new=*cred inode=*inode
bpf_lsm_kernel_load_data s32 id=u32 contents=u8
bpf_lsm_kernel_module_request s32 kmod_name=*-int
bpf_lsm_kernel_post_load_data s32 buf=*-int size=s64 id=u32 description=*-int
bpf_lsm_kernel_post_read_file s32 file=*file buf=*-int size=s64 id=u32
bpf_lsm_kernel_read_file s32 file=*file id=u32 contents=u8
bpf_lsm_kernfs_init_security s32 kn_dir=*kernfs_node kn=*kernfs_node
bpf_lsm_key_alloc s32 key=*key cred=*cred flags=u64
bpf_lsm_key_getsecurity s32 key=*key buffer=**-int
bpf_lsm_key_permission s32 key_ref=*-fwd cred=*cred need_perm=u32
bpf_lsm_key_post_create_or_update void keyring=*key key=*key payload=*-void payload_len=u64 flags=u64 create=u8
bpf_lsm_locked_down s32 what=u32
bpf_lsm_lsmprop_to_secctx s32 prop=*lsm_prop cp=*lsm_context
bpf_lsm_mmap_addr s32 addr=u64
bpf_lsm_mmap_backing_file s32 vma=*vm_area_struct backing_file=*file user_file=*file
bpf_lsm_mmap_file s32 file__nullable=*file reqprot=u64 prot=u64 flags=u64
bpf_lsm_move_mount s32 from_path=*path to_path=*path
bpf_lsm_mptcp_add_subflow s32 sk=*sock ssk=*sock
bpf_lsm_msg_msg_alloc_security s32 msg=*msg_msg
bpf_lsm_msg_msg_free_security void msg=*msg_msg
bpf_lsm_msg_queue_alloc_security s32 perm=*kern_ipc_perm
bpf_lsm_msg_queue_associate s32 perm=*kern_ipc_perm msqflg=s32
bpf_lsm_msg_queue_free_security void perm=*kern_ipc_perm
bpf_lsm_msg_queue_msgctl s32 perm=*kern_ipc_perm cmd=s32
bpf_lsm_msg_queue_msgrcv s32 perm=*kern_ipc_perm msg=*msg_msg target=*task_struct type=s64 mode=s32
bpf_lsm_msg_queue_msgsnd s32 perm=*kern_ipc_perm msg=*msg_msg msqflg=s32
bpf_lsm_netlink_send s32 sk=*sock skb=*sk_buff
bpf_lsm_path_chmod s32 path=*path mode=u16
bpf_lsm_path_chown s32 path=*path uid=@4 gid=@4
bpf_lsm_path_chroot s32 path=*path
bpf_lsm_path_link s32 old_dentry=*dentry new_dir=*path new_dentry=*dentry
bpf_lsm_path_mkdir s32 dir=*path dentry=*dentry mode=u16
bpf_lsm_path_mknod s32 dir=*path dentry=*dentry mode=u16 dev=u32
bpf_lsm_path_notify s32 path=*path mask=u64 obj_type=u32
bpf_lsm_path_post_mknod void idmap=*mnt_idmap dentry=*dentry
bpf_lsm_path_rename s32 old_dir=*path old_dentry=*dentry new_dir=*path new_dentry=*dentry flags=u32
bpf_lsm_path_rmdir s32 dir=*path dentry=*dentry
bpf_lsm_path_symlink s32 dir=*path dentry=*dentry old_name=*-int
bpf_lsm_path_truncate s32 path=*path
bpf_lsm_path_unlink s32 dir=*path dentry=*dentry
bpf_lsm_perf_event_alloc s32 event=*perf_event
bpf_lsm_perf_event_open s32 type=s32
bpf_lsm_perf_event_read s32 event=*perf_event
bpf_lsm_perf_event_write s32 event=*perf_event
bpf_lsm_ptrace_access_check s32 child=*task_struct mode=u32
bpf_lsm_ptrace_traceme s32 parent=*task_struct
bpf_lsm_quota_on s32 dentry=*dentry
bpf_lsm_quotactl s32 cmds=s32 type=s32 id=s32 sb=*super_block
bpf_lsm_release_secctx void cp=*lsm_context
bpf_lsm_req_classify_flow void req=*request_sock flic=*flowi_common
bpf_lsm_sb_alloc_security s32 sb=*super_block
bpf_lsm_sb_clone_mnt_opts s32 oldsb=*super_block newsb=*super_block kern_flags=u64 set_kern_flags=*-int
bpf_lsm_sb_delete void sb=*super_block
bpf_lsm_sb_eat_lsm_opts s32 orig=*-int mnt_opts=**-void
bpf_lsm_sb_free_mnt_opts void mnt_opts=*-void
bpf_lsm_sb_free_security void sb=*super_block
bpf_lsm_sb_kern_mount s32 sb=*super_block
bpf_lsm_sb_mnt_opts_compat s32 sb=*super_block mnt_opts=*-void
bpf_lsm_sb_mount s32 dev_name=*-int path=*path type=*-int flags=u64 data=*-void
bpf_lsm_sb_pivotroot s32 old_path=*path new_path=*path
bpf_lsm_sb_remount s32 sb=*super_block mnt_opts=*-void
bpf_lsm_sb_set_mnt_opts s32 sb=*super_block mnt_opts=*-void kern_flags=u64 set_kern_flags=*-int
bpf_lsm_sb_show_options s32 m=*seq_file sb=*super_block
bpf_lsm_sb_statfs s32 dentry=*dentry
bpf_lsm_sb_umount s32 mnt=*vfsmount flags=s32
bpf_lsm_sctp_assoc_established s32 asoc=*sctp_association skb=*sk_buff
bpf_lsm_sctp_assoc_request s32 asoc=*sctp_association skb=*sk_buff
bpf_lsm_sctp_bind_connect s32 sk=*sock optname=s32 address=*sockaddr addrlen=s32
bpf_lsm_sctp_sk_clone void asoc=*sctp_association sk=*sock newsk=*sock
bpf_lsm_secctx_to_secid s32 secdata=*-int seclen=u32 secid=*-int
bpf_lsm_secid_to_secctx s32 secid=u32 cp=*lsm_context
bpf_lsm_secmark_refcount_dec void
bpf_lsm_secmark_refcount_inc void
bpf_lsm_secmark_relabel_packet s32 secid=u32
bpf_lsm_sem_alloc_security s32 perm=*kern_ipc_perm
bpf_lsm_sem_associate s32 perm=*kern_ipc_perm semflg=s32
bpf_lsm_sem_free_security void perm=*kern_ipc_perm
bpf_lsm_sem_semctl s32 perm=*kern_ipc_perm cmd=s32
bpf_lsm_sem_semop s32 perm=*kern_ipc_perm sops=*sembuf nsops=u32 alter=s32
bpf_lsm_setprocattr s32 name=*-int value=*-void size=u64
bpf_lsm_setselfattr s32 attr=u32 ctx=*lsm_ctx size=u32 flags=u32
bpf_lsm_settime s32 ts=*timespec64 tz=*timezone
bpf_lsm_shm_alloc_security s32 perm=*kern_ipc_perm
bpf_lsm_shm_associate s32 perm=*kern_ipc_perm shmflg=s32
bpf_lsm_shm_free_security void perm=*kern_ipc_perm
bpf_lsm_shm_shmat s32 perm=*kern_ipc_perm shmaddr=*-int shmflg=s32
bpf_lsm_shm_shmctl s32 perm=*kern_ipc_perm cmd=s32
bpf_lsm_sk_alloc_security s32 sk=*sock family=s32 priority=u32
bpf_lsm_sk_clone_security void sk=*sock newsk=*sock
bpf_lsm_sk_free_security void sk=*sock
bpf_lsm_sk_getsecid void sk=*sock secid=*-int
bpf_lsm_sock_graft void sk=*sock parent=*socket
bpf_lsm_socket_accept s32 sock=*socket newsock=*socket
bpf_lsm_socket_bind s32 sock=*socket address=*sockaddr addrlen=s32
bpf_lsm_socket_connect s32 sock=*socket address=*sockaddr addrlen=s32
bpf_lsm_socket_create s32 family=s32 type=s32 protocol=s32 kern=s32
bpf_lsm_socket_getpeername s32 sock=*socket
bpf_lsm_socket_getpeersec_dgram s32 sock=*socket skb=*sk_buff secid=*-int
bpf_lsm_socket_getpeersec_stream s32 sock=*socket optval=@16 optlen=@16 len=u32
bpf_lsm_socket_getsockname s32 sock=*socket
bpf_lsm_socket_getsockopt s32 sock=*socket level=s32 optname=s32
bpf_lsm_socket_listen s32 sock=*socket backlog=s32
bpf_lsm_socket_post_create s32 sock=*socket family=s32 type=s32 protocol=s32 kern=s32
bpf_lsm_socket_recvmsg s32 sock=*socket msg=*msghdr size=s32 flags=s32
bpf_lsm_socket_sendmsg s32 sock=*socket msg=*msghdr size=s32
bpf_lsm_socket_setsockopt s32 sock=*socket level=s32 optname=s32
bpf_lsm_socket_shutdown s32 sock=*socket how=s32
bpf_lsm_socket_sock_rcv_skb s32 sk=*sock skb=*sk_buff
bpf_lsm_socket_socketpair s32 socka=*socket sockb=*socket
bpf_lsm_syslog s32 type=s32
bpf_lsm_task_alloc s32 task=*task_struct clone_flags=u64
bpf_lsm_task_fix_setgid s32 new=*cred old=*cred flags=s32
bpf_lsm_task_fix_setgroups s32 new=*cred old=*cred
bpf_lsm_task_fix_setuid s32 new=*cred old=*cred flags=s32
bpf_lsm_task_free void task=*task_struct
bpf_lsm_task_getioprio s32 p=*task_struct
bpf_lsm_task_getlsmprop_obj void p=*task_struct prop=*lsm_prop
bpf_lsm_task_getpgid s32 p=*task_struct
bpf_lsm_task_getscheduler s32 p=*task_struct
bpf_lsm_task_getsid s32 p=*task_struct
bpf_lsm_task_kill s32 p=*task_struct info=*kernel_siginfo sig=s32 cred=*cred
bpf_lsm_task_movememory s32 p=*task_struct
bpf_lsm_task_prctl s32 option=s32 arg2=u64 arg3=u64 arg4=u64 arg5=u64
bpf_lsm_task_prlimit s32 cred=*cred tcred=*cred flags=u32
bpf_lsm_task_setioprio s32 p=*task_struct ioprio=s32
bpf_lsm_task_setnice s32 p=*task_struct nice=s32
bpf_lsm_task_setpgid s32 p=*task_struct pgid=s32
bpf_lsm_task_setrlimit s32 p=*task_struct resource=u32 new_rlim=*rlimit
bpf_lsm_task_setscheduler s32 p=*task_struct
bpf_lsm_task_to_inode void p=*task_struct inode=*inode
bpf_lsm_tun_dev_alloc_security s32 security=*-void
bpf_lsm_tun_dev_attach s32 sk=*sock security=*-void
bpf_lsm_tun_dev_attach_queue s32 security=*-void
bpf_lsm_tun_dev_create s32
bpf_lsm_tun_dev_open s32 security=*-void
bpf_lsm_unix_find s32 path=*path other=*sock flags=s32
bpf_lsm_unix_may_send s32 sock=*socket other=*socket
bpf_lsm_unix_stream_connect s32 sock=*sock other=*sock newsk=*sock
bpf_lsm_uring_allowed s32
bpf_lsm_uring_cmd s32 ioucmd=*io_uring_cmd
bpf_lsm_uring_override_creds s32 new=*cred
bpf_lsm_uring_sqpoll s32
bpf_lsm_userns_create s32 cred=*cred
bpf_lsm_vm_enough_memory s32 mm=*mm_struct pages=s64
bpf_lsm_xfrm_decode_session s32 skb=*sk_buff secid=*-int ckall=s32
bpf_lsm_xfrm_policy_alloc_security s32 ctxp=**xfrm_sec_ctx sec_ctx=*xfrm_user_sec_ctx gfp=u32
bpf_lsm_xfrm_policy_clone_security s32 old_ctx=*xfrm_sec_ctx new_ctx=**xfrm_sec_ctx
bpf_lsm_xfrm_policy_delete_security s32 ctx=*xfrm_sec_ctx
bpf_lsm_xfrm_policy_free_security void ctx=*xfrm_sec_ctx
bpf_lsm_xfrm_policy_lookup s32 ctx=*xfrm_sec_ctx fl_secid=u32
bpf_lsm_xfrm_state_alloc s32 x=*xfrm_state sec_ctx=*xfrm_user_sec_ctx
bpf_lsm_xfrm_state_alloc_acquire s32 x=*xfrm_state polsec=*xfrm_sec_ctx secid=u32
bpf_lsm_xfrm_state_delete_security s32 x=*xfrm_state
bpf_lsm_xfrm_state_free_security void x=*xfrm_state
bpf_lsm_xfrm_state_pol_flow_match s32 x=*xfrm_state xp=*xfrm_policy flic=*flowi_common
bpf_modify_return_test s32 a=s32 b=*-int
btf_trace_cgroup_mkdir void -=*-void -=*cgroup -=*-int
btf_trace_sched_pi_setprio void -=*-void -=*task_struct -=*task_struct
btf_trace_sched_process_wait void -=*-void -=*pid
btf_trace_signal_deliver void -=*-void -=s32 -=*kernel_siginfo -=*k_sigaction
btf_trace_signal_generate void -=*-void -=s32 -=*kernel_siginfo -=*task_struct -=s32 -=s32
btf_trace_sys_enter void -=*-void -=*pt_regs -=s64
btf_trace_task_newtask void -=*-void -=*task_struct -=u64
btf_trace_tcp_destroy_sock void -=*-void -=*sock
btf_trace_tcp_probe void -=*-void -=*sock -=*sk_buff
d_path *-int path=*path buf=*-int buflen=s32
dentry_open *file path=*path flags=s32 cred=*cred
skb_tx_error void skb=*sk_buff
vfs_open s32 path=*path file=*file
"""

# Their ids in that kernel's BTF, which some lines of the log mention.
STRUCT_IDS: Final = """
audit_krule=64845 block_device=66121 bpf_fentry_test_t=66588 bpf_iter_meta=66886 bpf_link=67377 bpf_log_attr=67444
bpf_map=67761 bpf_prog=68016 bpf_token=68611 cgroup=70797 cred=73306 dentry=75118 dma_buf=76644 fib6_info=80514
file=80745 file_kattr=80765 flowi_common=81295 fown_struct=81600 fs_context=82023 fs_parameter=82053 iattr=85339
inode=86588 io_uring_cmd=87812 k_sigaction=89875 kallsym_iter=89879 kern_ipc_perm=89971 kernel_siginfo=90049
kernfs_node=90132 key=90211 kmem_cache=90569 linux_binprm=91416 lsm_context=91793 lsm_ctx=91795 lsm_prop=91813
mm_struct=93117 mnt_idmap=93214 msg_msg=93935 msghdr=93950 netlink_sock=95198 path=97252 perf_event=98654 pid=99761
posix_acl=100531 pt_regs=101755 qstr=102223 request_sock=103728 rlimit=104216 sctp_association=105725 sembuf=107066
seq_file=107123 sk_buff=108680 skb_shared_info=108937 sock=109208 sock_common=109223 sockaddr=109407 socket=109418
super_block=110147 task_struct=110917 timespec64=112313 timezone=112321 udp_sock=116980 unix_sock=117200
user_namespace=117669 vfsmount=118052 vm_area_struct=118419 xattr=119715 xfrm_policy=120639 xfrm_sec_ctx=120701
xfrm_state=120711 xfrm_user_sec_ctx=120767 |bpf_attr=66239 (anon)=568
"""
HOOK_IDS: Final = """
bpf_lsm_audit_rule_free=67465 bpf_lsm_audit_rule_init=67466 bpf_lsm_audit_rule_known=67467
bpf_lsm_audit_rule_match=67468 bpf_lsm_backing_file_alloc=67469 bpf_lsm_backing_file_free=67470
bpf_lsm_bdev_alloc_security=67471 bpf_lsm_bdev_free_security=67472 bpf_lsm_bdev_setintegrity=67473
bpf_lsm_binder_set_context_mgr=67474 bpf_lsm_binder_transaction=67475 bpf_lsm_binder_transfer_binder=67476
bpf_lsm_binder_transfer_file=67477 bpf_lsm_bpf=67478 bpf_lsm_bpf_map=67479 bpf_lsm_bpf_map_create=67480
bpf_lsm_bpf_map_free=67481 bpf_lsm_bpf_prog=67482 bpf_lsm_bpf_prog_free=67483 bpf_lsm_bpf_prog_load=67484
bpf_lsm_bpf_token_capable=67485 bpf_lsm_bpf_token_cmd=67486 bpf_lsm_bpf_token_create=67487
bpf_lsm_bpf_token_free=67488 bpf_lsm_bprm_check_security=67489 bpf_lsm_bprm_committed_creds=67490
bpf_lsm_bprm_committing_creds=67491 bpf_lsm_bprm_creds_for_exec=67492 bpf_lsm_bprm_creds_from_file=67493
bpf_lsm_capable=67494 bpf_lsm_capget=67495 bpf_lsm_capset=67496 bpf_lsm_cred_alloc_blank=67497 bpf_lsm_cred_free=67498
bpf_lsm_cred_getlsmprop=67499 bpf_lsm_cred_getsecid=67500 bpf_lsm_cred_prepare=67501 bpf_lsm_cred_transfer=67502
bpf_lsm_current_getlsmprop_subj=67503 bpf_lsm_d_instantiate=67504 bpf_lsm_dentry_create_files_as=67505
bpf_lsm_dentry_init_security=67506 bpf_lsm_file_alloc_security=67507 bpf_lsm_file_fcntl=67508
bpf_lsm_file_free_security=67509 bpf_lsm_file_ioctl=67510 bpf_lsm_file_ioctl_compat=67511 bpf_lsm_file_lock=67512
bpf_lsm_file_mprotect=67513 bpf_lsm_file_open=67514 bpf_lsm_file_permission=67515 bpf_lsm_file_post_open=67516
bpf_lsm_file_receive=67517 bpf_lsm_file_release=67518 bpf_lsm_file_send_sigiotask=67519 bpf_lsm_file_set_fowner=67520
bpf_lsm_file_truncate=67521 bpf_lsm_fs_context_dup=67523 bpf_lsm_fs_context_parse_param=67524
bpf_lsm_fs_context_submount=67525 bpf_lsm_getprocattr=67528 bpf_lsm_getselfattr=67529 bpf_lsm_ib_alloc_security=67532
bpf_lsm_ib_endport_manage_subnet=67533 bpf_lsm_ib_pkey_access=67534 bpf_lsm_inet_conn_established=67535
bpf_lsm_inet_conn_request=67536 bpf_lsm_inet_csk_clone=67537 bpf_lsm_initramfs_populated=67539
bpf_lsm_inode_alloc_security=67540 bpf_lsm_inode_copy_up=67541 bpf_lsm_inode_copy_up_xattr=67542
bpf_lsm_inode_create=67543 bpf_lsm_inode_file_getattr=67544 bpf_lsm_inode_file_setattr=67545
bpf_lsm_inode_follow_link=67546 bpf_lsm_inode_free_security=67547 bpf_lsm_inode_free_security_rcu=67548
bpf_lsm_inode_get_acl=67549 bpf_lsm_inode_getattr=67550 bpf_lsm_inode_getlsmprop=67551 bpf_lsm_inode_getsecctx=67552
bpf_lsm_inode_getsecurity=67553 bpf_lsm_inode_getxattr=67554 bpf_lsm_inode_init_security=67555
bpf_lsm_inode_init_security_anon=67556 bpf_lsm_inode_invalidate_secctx=67557 bpf_lsm_inode_killpriv=67558
bpf_lsm_inode_link=67559 bpf_lsm_inode_listsecurity=67560 bpf_lsm_inode_listxattr=67561 bpf_lsm_inode_mkdir=67562
bpf_lsm_inode_mknod=67563 bpf_lsm_inode_need_killpriv=67564 bpf_lsm_inode_notifysecctx=67565
bpf_lsm_inode_permission=67566 bpf_lsm_inode_post_create_tmpfile=67567 bpf_lsm_inode_post_remove_acl=67568
bpf_lsm_inode_post_removexattr=67569 bpf_lsm_inode_post_set_acl=67570 bpf_lsm_inode_post_setattr=67571
bpf_lsm_inode_post_setxattr=67572 bpf_lsm_inode_readlink=67573 bpf_lsm_inode_remove_acl=67574
bpf_lsm_inode_removexattr=67575 bpf_lsm_inode_rename=67576 bpf_lsm_inode_rmdir=67577 bpf_lsm_inode_set_acl=67578
bpf_lsm_inode_setattr=67579 bpf_lsm_inode_setintegrity=67580 bpf_lsm_inode_setsecctx=67581
bpf_lsm_inode_setsecurity=67582 bpf_lsm_inode_setxattr=67583 bpf_lsm_inode_symlink=67584 bpf_lsm_inode_unlink=67585
bpf_lsm_inode_xattr_skipcap=67586 bpf_lsm_ipc_getlsmprop=67587 bpf_lsm_ipc_permission=67588 bpf_lsm_ismaclabel=67591
bpf_lsm_kernel_act_as=67592 bpf_lsm_kernel_create_files_as=67593 bpf_lsm_kernel_load_data=67594
bpf_lsm_kernel_module_request=67595 bpf_lsm_kernel_post_load_data=67596 bpf_lsm_kernel_post_read_file=67597
bpf_lsm_kernel_read_file=67598 bpf_lsm_kernfs_init_security=67599 bpf_lsm_key_alloc=67600
bpf_lsm_key_getsecurity=67601 bpf_lsm_key_permission=67602 bpf_lsm_key_post_create_or_update=67603
bpf_lsm_locked_down=67604 bpf_lsm_lsmprop_to_secctx=67605 bpf_lsm_mmap_addr=67606 bpf_lsm_mmap_backing_file=67607
bpf_lsm_mmap_file=67608 bpf_lsm_move_mount=67609 bpf_lsm_mptcp_add_subflow=67610 bpf_lsm_msg_msg_alloc_security=67611
bpf_lsm_msg_msg_free_security=67612 bpf_lsm_msg_queue_alloc_security=67613 bpf_lsm_msg_queue_associate=67614
bpf_lsm_msg_queue_free_security=67615 bpf_lsm_msg_queue_msgctl=67616 bpf_lsm_msg_queue_msgrcv=67617
bpf_lsm_msg_queue_msgsnd=67618 bpf_lsm_netlink_send=67619 bpf_lsm_path_chmod=67620 bpf_lsm_path_chown=67621
bpf_lsm_path_chroot=67622 bpf_lsm_path_link=67623 bpf_lsm_path_mkdir=67624 bpf_lsm_path_mknod=67625
bpf_lsm_path_notify=67626 bpf_lsm_path_post_mknod=67627 bpf_lsm_path_rename=67628 bpf_lsm_path_rmdir=67629
bpf_lsm_path_symlink=67630 bpf_lsm_path_truncate=67631 bpf_lsm_path_unlink=67632 bpf_lsm_perf_event_alloc=67633
bpf_lsm_perf_event_open=67634 bpf_lsm_perf_event_read=67635 bpf_lsm_perf_event_write=67636
bpf_lsm_ptrace_access_check=67637 bpf_lsm_ptrace_traceme=67638 bpf_lsm_quota_on=67639 bpf_lsm_quotactl=67640
bpf_lsm_release_secctx=67641 bpf_lsm_req_classify_flow=67642 bpf_lsm_sb_alloc_security=67643
bpf_lsm_sb_clone_mnt_opts=67644 bpf_lsm_sb_delete=67645 bpf_lsm_sb_eat_lsm_opts=67646 bpf_lsm_sb_free_mnt_opts=67647
bpf_lsm_sb_free_security=67648 bpf_lsm_sb_kern_mount=67649 bpf_lsm_sb_mnt_opts_compat=67650 bpf_lsm_sb_mount=67651
bpf_lsm_sb_pivotroot=67652 bpf_lsm_sb_remount=67653 bpf_lsm_sb_set_mnt_opts=67654 bpf_lsm_sb_show_options=67655
bpf_lsm_sb_statfs=67656 bpf_lsm_sb_umount=67657 bpf_lsm_sctp_assoc_established=67658 bpf_lsm_sctp_assoc_request=67659
bpf_lsm_sctp_bind_connect=67660 bpf_lsm_sctp_sk_clone=67661 bpf_lsm_secctx_to_secid=67662
bpf_lsm_secid_to_secctx=67663 bpf_lsm_secmark_refcount_dec=67664 bpf_lsm_secmark_refcount_inc=67665
bpf_lsm_secmark_relabel_packet=67666 bpf_lsm_sem_alloc_security=67667 bpf_lsm_sem_associate=67668
bpf_lsm_sem_free_security=67669 bpf_lsm_sem_semctl=67670 bpf_lsm_sem_semop=67671 bpf_lsm_setprocattr=67672
bpf_lsm_setselfattr=67673 bpf_lsm_settime=67674 bpf_lsm_shm_alloc_security=67675 bpf_lsm_shm_associate=67676
bpf_lsm_shm_free_security=67677 bpf_lsm_shm_shmat=67678 bpf_lsm_shm_shmctl=67679 bpf_lsm_sk_alloc_security=67680
bpf_lsm_sk_clone_security=67681 bpf_lsm_sk_free_security=67682 bpf_lsm_sk_getsecid=67683 bpf_lsm_sock_graft=67684
bpf_lsm_socket_accept=67685 bpf_lsm_socket_bind=67686 bpf_lsm_socket_connect=67687 bpf_lsm_socket_create=67688
bpf_lsm_socket_getpeername=67689 bpf_lsm_socket_getpeersec_dgram=67690 bpf_lsm_socket_getpeersec_stream=67691
bpf_lsm_socket_getsockname=67692 bpf_lsm_socket_getsockopt=67693 bpf_lsm_socket_listen=67694
bpf_lsm_socket_post_create=67695 bpf_lsm_socket_recvmsg=67696 bpf_lsm_socket_sendmsg=67697
bpf_lsm_socket_setsockopt=67698 bpf_lsm_socket_shutdown=67699 bpf_lsm_socket_sock_rcv_skb=67700
bpf_lsm_socket_socketpair=67701 bpf_lsm_syslog=67702 bpf_lsm_task_alloc=67703 bpf_lsm_task_fix_setgid=67704
bpf_lsm_task_fix_setgroups=67705 bpf_lsm_task_fix_setuid=67706 bpf_lsm_task_free=67707 bpf_lsm_task_getioprio=67708
bpf_lsm_task_getlsmprop_obj=67709 bpf_lsm_task_getpgid=67710 bpf_lsm_task_getscheduler=67711 bpf_lsm_task_getsid=67712
bpf_lsm_task_kill=67713 bpf_lsm_task_movememory=67714 bpf_lsm_task_prctl=67715 bpf_lsm_task_prlimit=67716
bpf_lsm_task_setioprio=67717 bpf_lsm_task_setnice=67718 bpf_lsm_task_setpgid=67719 bpf_lsm_task_setrlimit=67720
bpf_lsm_task_setscheduler=67721 bpf_lsm_task_to_inode=67722 bpf_lsm_tun_dev_alloc_security=67723
bpf_lsm_tun_dev_attach=67724 bpf_lsm_tun_dev_attach_queue=67725 bpf_lsm_tun_dev_create=67726
bpf_lsm_tun_dev_open=67727 bpf_lsm_unix_find=67728 bpf_lsm_unix_may_send=67729 bpf_lsm_unix_stream_connect=67730
bpf_lsm_uring_allowed=67731 bpf_lsm_uring_cmd=67732 bpf_lsm_uring_override_creds=67733 bpf_lsm_uring_sqpoll=67734
bpf_lsm_userns_create=67735 bpf_lsm_vm_enough_memory=67737 bpf_lsm_xfrm_decode_session=67738
bpf_lsm_xfrm_policy_alloc_security=67739 bpf_lsm_xfrm_policy_clone_security=67740
bpf_lsm_xfrm_policy_delete_security=67741 bpf_lsm_xfrm_policy_free_security=67742 bpf_lsm_xfrm_policy_lookup=67743
bpf_lsm_xfrm_state_alloc=67744 bpf_lsm_xfrm_state_alloc_acquire=67745 bpf_lsm_xfrm_state_delete_security=67746
bpf_lsm_xfrm_state_free_security=67747 bpf_lsm_xfrm_state_pol_flow_match=67748
"""
