# SPDX-License-Identifier: BSD-2-Clause
{
  'targets': [
    {
      'target_name': 'amptcp',
      'include_dirs': [
        "<!(node -p \"require('node-addon-api').include_dir\")",
        "<!(node -p \"require('path').relative('.', require('node-api-headers').include_dir)\")",
        '../../kmod/core',
        'common',
      ],
      'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
      'cflags': ['-O2', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden'],
      'cflags_c': ['-std=c11'],
      'cflags_cc': ['-std=c++17', '-fexceptions'],
      'cflags_cc!': ['-fno-exceptions', '-fno-rtti'],
      'sources': [
        'common/addon.cc',
        'common/plane_core.c', 'common/plane_binding.cc',
        'common/errno_name.c',
        'common/descriptors.c', 'common/descriptors_binding.cc',
        'common/listener.c', 'common/listener_binding.cc',
        'common/relay.c', 'common/relay_binding.cc',
        'common/subflow_binding.cc',
        '<!@(node -p "require(\'fs\').readdirSync(\'../../kmod/core\').filter((n) => /^lisp_.*\\.c$/.test(n)).map((n) => \'../../kmod/core/\' + n).join(\' \')")',
      ],
      'conditions': [
        ['OS=="linux"', {
          'defines': ['_GNU_SOURCE'],
          'sources': [
            'linux/descriptors.c', 'linux/poller.c', 'linux/join.c',
            'linux/mptcp.c', 'linux/mptcp_binding.cc',
            'linux/plane.c', 'linux/plane_segments.c',
            'linux/bpf/bpf_object.c', 'linux/bpf/bpf_attach.c', 'linux/bpf/bpf_route.c', 'linux/bpf/bpf_binding.cc',
          ],
        }],
        ['OS=="freebsd"', {
          'include_dirs': ['../../kmod/lisp', '../../kmod/mptcp', '../../kmod/tproxy', 'freebsd'],
          'sources': [
            'freebsd/descriptors.c', 'freebsd/poller.c', 'freebsd/join.c', 'freebsd/control.c',
            'freebsd/addresses.c', 'freebsd/connector.c', 'freebsd/connector_binding.cc',
            'freebsd/mptcpctl.c', 'freebsd/mptcpctl_binding.cc',
            'freebsd/anchor.c', 'freebsd/divert.c', 'freebsd/tproxyctl.c', 'freebsd/interception_binding.cc',
            'freebsd/lispctl.c', 'freebsd/lisp_binding.cc',
          ],
        }],
      ],
    },
  ],
}
